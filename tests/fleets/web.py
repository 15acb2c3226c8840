"""A web server for tests: the files of a directory, whole or from an offset. Prints its port; writes `log` there.

    web.py DIRECTORY
"""
import http.server
import os
import re
import sys

ROOT = sys.argv[1] if __name__ == "__main__" else None


class Files(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        wanted = self.headers.get("Range", "")
        with open(os.path.join(ROOT, "log"), "a") as log:
            print(self.path, wanted, file=log)
        try:
            with open(os.path.join(ROOT, os.path.basename(self.path)), "rb") as f:
                content = f.read()
        except OSError:
            return self.send_error(404)
        start = re.fullmatch(r"bytes=(\d+)-", wanted)
        offset = int(start.group(1)) if start else 0
        if offset and offset >= len(content):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {offset}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - offset))
        self.end_headers()
        self.wfile.write(content[offset:])

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
    print(server.server_address[1], flush=True)
    server.serve_forever()
