"""The local stack: the deployed handlers behind an API gateway, queues, schedules and an AWS of this machine."""
