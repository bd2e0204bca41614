"""The only room that knows Ray: stages become a running job."""
