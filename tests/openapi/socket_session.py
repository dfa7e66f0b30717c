"""A session of requests that speaks over one Unix socket and counts how often it had to connect."""
import socket

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

BASE = 'http://micad'


class Connection(HTTPConnection):
    def __init__(self, pool, **options):
        super().__init__('micad', **options)
        self.pool = pool

    def connect(self):
        self.pool.connected += 1
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.pool.path)


class Pool(HTTPConnectionPool):
    def __init__(self, path):
        super().__init__('micad', maxsize=1, block=True)
        self.path = path
        self.connected = 0

    def _new_conn(self):
        return Connection(self, timeout=self.timeout.connect_timeout)

    def leave(self):
        """Closes the connection; the next request makes another one."""
        connection = self._get_conn(timeout=1)
        connection.close()
        self._put_conn(connection)


class Adapter(HTTPAdapter):
    def __init__(self, path):
        super().__init__(max_retries=0)
        self.pool = Pool(path)

    def get_connection_with_tls_context(self, *_, **__):
        return self.pool

    def request_url(self, request, proxies):
        return request.path_url


class Session(requests.Session):
    """All requests over one connection, as long as the daemon lets it live."""

    def __init__(self, path):
        super().__init__()
        self.trust_env = False
        self.adapter = Adapter(path)
        self.mount('http://', self.adapter)

    def send(self, request, **options):
        response = super().send(request, **options)
        # from here on the connection speaks something else
        if response.status_code == 101:
            response.raw.release_conn()
            self.adapter.pool.leave()
        return response

    @property
    def connections(self):
        return self.adapter.pool.connected
