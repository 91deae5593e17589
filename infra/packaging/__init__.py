"""The deployment package: what Lambda runs as one zip, and the template that AWS makes the service from."""
