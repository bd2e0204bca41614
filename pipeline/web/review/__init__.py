"""The review page: a local web application in which people correct what clustering found.

Pages are made on the server and work without JavaScript; a small script adds keys and dropping.
FastAPI and uvicorn come with the extra `review`.
"""
