"""`consumers status`: what it asks both servers, what it answers, and how it is shown."""
