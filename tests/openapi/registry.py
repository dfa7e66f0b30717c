"""A registry on loopback that has one image under every name, finds one name whatever is searched for, and refuses to be a proxy."""
import hashlib, json, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import goods

LAYER = goods.FILES
CONFIG = json.dumps({'architecture': 'amd64', 'os': 'linux', 'config': {}, 'history': [{'created_by': 'by hand'}],
                     'rootfs': {'type': 'layers', 'diff_ids': ['sha256:' + hashlib.sha256(LAYER).hexdigest()]}}).encode()


def descriptor(kind, data):
    return {'mediaType': f'application/vnd.oci.image.{kind}', 'digest': 'sha256:' + hashlib.sha256(data).hexdigest(), 'size': len(data)}


KIND = 'application/vnd.oci.image.manifest.v1+json'
MANIFEST = json.dumps({'schemaVersion': 2, 'mediaType': KIND, 'config': descriptor('config.v1+json', CONFIG),
                       'layers': [descriptor('layer.v1.tar', LAYER)]}).encode()
THINGS = {'sha256:' + hashlib.sha256(data).hexdigest(): data for data in (LAYER, CONFIG, MANIFEST)}
HITS = json.dumps({'results': [{'name': 'a', 'description': 'b', 'star_count': 1, 'is_official': True, 'is_automated': False}]}).encode()
# What a manifest is asked for by to be there.
TAGS = ('1', 'latest')


class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_GET(self):
        kind, _, which = self.path.rpartition('/')
        if self.path == '/v2/':
            self.answer(200, b'{}')
        elif kind.endswith('/manifests') and which in TAGS:
            self.answer(200, MANIFEST, KIND)
        elif which in THINGS:
            self.answer(200, THINGS[which], KIND if THINGS[which] is MANIFEST else 'application/octet-stream')
        elif self.path.endswith('/tags/list'):
            self.answer(200, json.dumps({'tags': list(TAGS)}).encode())
        elif self.path.startswith('/v1/search?'):
            self.answer(200, HITS)
        else:
            self.refuse()

    do_HEAD = do_GET

    def refuse(self):
        """What is sent along is not read: the connection ends with the answer."""
        self.close_connection = True
        self.answer(404, b'{"errors":[{"code":"NAME_UNKNOWN","message":"not here"}]}')

    do_POST = do_PUT = do_PATCH = do_DELETE = do_CONNECT = refuse

    def answer(self, status, body, kind='application/json'):
        self.send_response(status)
        self.send_header('Content-Type', kind)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True


_server = None


def start():
    """Serves from now on, on a free port."""
    global _server
    _server = Server(('127.0.0.1', 0), Handler)
    threading.Thread(target=_server.serve_forever, daemon=True).start()


def address():
    return '127.0.0.1:%d' % _server.server_address[1]
