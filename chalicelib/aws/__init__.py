"""The one door to AWS; the only boto3."""
