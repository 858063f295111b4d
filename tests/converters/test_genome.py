"""Genome: a GTF by path, by URL or from the mirror."""

import gzip
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cellzoo.converters import genome as module
from cellzoo.converters.genome import add_genome
from cellzoo.errors import InputError, IntegrityError, WorldError
from cellzoo.registry.genes import gene_space
from cellzoo.registry.genetable import genomes

LINE = (
    "11\tensembl\tgene\t1\t2\t.\t+\t.\t"
    'gene_id "ENSG00000198851"; gene_version "10"; gene_name "CD3E"; gene_biotype "protein_coding";\n'
)
CONTENT = gzip.compress(LINE.encode(), mtime=0)  # the same bytes, and ids of tests, in every process
DIGEST = hashlib.sha256(CONTENT).hexdigest()
NAME = "Homo_sapiens.GRCh38.102.gtf.gz"


@pytest.fixture
def web():
    """Serve the GTF; under /cut/ half of what was promised."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path.endswith(NAME) else 404)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[: len(CONTENT) // 2 if "cut" in self.path else None])

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_url_is_fetched_compiled_and_found_again_offline(web, monkeypatch):
    seen = []
    genome = add_genome(f"{web}/{NAME}", sha256=DIGEST.upper(), progress=lambda *step: seen.append(step))
    assert (genome.name, genome.source, genome.source_sha256) == ("homo_sapiens-ensembl102", f"{web}/{NAME}", DIGEST)
    assert seen[-1] == (NAME, len(CONTENT), len(CONTENT))
    monkeypatch.setenv("CELLZOO_OFFLINE", "1")
    assert gene_space("homo_sapiens-ensembl102-protein_coding").symbols.tolist() == ["CD3E"]


def test_a_path_is_read_where_it_is(tmp_path):
    path = tmp_path / NAME
    path.write_bytes(CONTENT)
    assert add_genome(path) == add_genome(str(path))
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("url", "options", "error", "says"),
    [
        ("/cut/{}", {}, WorldError, rf"only \d+ of {len(CONTENT)} bytes came"),
        ("/{}", {"sha256": "0" * 64}, IntegrityError, f"has sha256 {DIGEST}, expected 0000"),
        ("/nowhere.gtf", {}, WorldError, "404|Not Found"),
    ],
)
def test_half_or_other_bytes_are_not_used(web, url, options, error, says):
    with pytest.raises(error, match=says):
        add_genome(web + url.format(NAME), **options)
    assert all(genome.packaged for genome in genomes())


def test_offline_no_url_is_asked_but_the_mirror(tmp_path, monkeypatch):
    monkeypatch.setenv("CELLZOO_OFFLINE", "1")
    url = f"https://ftp.ensembl.org/pub/release-102/gtf/homo_sapiens/{NAME}"
    with pytest.raises(WorldError, match="CELLZOO_OFFLINE is set. Give the path of a file"):
        add_genome(url, sha256=DIGEST)
    (tmp_path / DIGEST).write_bytes(CONTENT)
    monkeypatch.setenv("CELLZOO_MIRROR", str(tmp_path))
    assert add_genome(url, sha256=DIGEST).name == "homo_sapiens-ensembl102"


def test_ftp_is_asked_by_https_where_that_answers(monkeypatch):
    asked: list[str] = []

    def download(url, name, to, progress):
        asked.append(url)
        to.write_bytes(CONTENT)

    monkeypatch.setattr(module, "_download", download)
    add_genome(f"ftp://ftp.ensembl.org/pub/release-102/gtf/homo_sapiens/{NAME}")
    assert asked == [f"https://ftp.ensembl.org/pub/release-102/gtf/homo_sapiens/{NAME}"]
    with pytest.raises(InputError, match="ftp is not spoken here"):
        add_genome(f"ftp://example.org/{NAME}")


@pytest.mark.parametrize("path", ["missing.gtf", "."])
def test_what_is_no_file_is_refused(tmp_path, path):
    with pytest.raises((InputError, WorldError), match="no such file|cannot be read"):
        add_genome(tmp_path / path)
