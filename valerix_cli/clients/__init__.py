"""What talks to the services over HTTP, and prints nothing."""
