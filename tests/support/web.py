"""A client that asks an ASGI application without a socket."""

import asyncio

import httpx


class Client:
    """Asks one application; keeps cookies, follows no redirects.

    Args:
        app: the application.
        base: scheme and host of every request.
    """

    def __init__(self, app, base="http://127.0.0.1"):
        self.app, self.base, self.cookies = app, base, httpx.Cookies()

    def request(self, method, url, **options):
        async def ask():
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(
                transport=transport, base_url=self.base, cookies=self.cookies
            ) as client:
                answer = await client.request(method, url, **options)
                self.cookies = client.cookies
                return answer

        return asyncio.run(ask())

    def get(self, url, **options):
        return self.request("GET", url, **options)

    def post(self, url, data=None, **options):
        return self.request("POST", url, data=data, **options)
