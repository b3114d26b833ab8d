"""The AWS side: CloudFormation template and the command that deploys it."""
