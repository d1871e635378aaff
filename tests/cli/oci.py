#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bvisor export and import: kept sandboxes as OCI images, and images nobody should make."""
import gzip
import hashlib
import io
import json
import os
import platform
import tarfile

from kept import changes, check, fresh, layers, ok, repo, run, sh, tap, work

ARCH = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
image = os.path.join(work, "image.tar")
inside = repo.lstrip("/")


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def layer(*entries):
    """A tar of (name, content, {fields}); content None: a directory."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content, *more in entries:
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            info.mode = 0o755 if content is None else 0o644
            for key, value in (more[0] if more else {}).items():
                setattr(info, key, value)
            data = (content or "").encode()
            info.size = len(data) if info.type == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def make(*layers_, path=image, lie=None, nested=False, extra=(), index=None, mode="w"):
    """An image of these layers' bytes."""
    blobs = {}

    def blob(data, media):
        name = digest(data)
        blobs[name] = data
        return {"mediaType": media, "digest": name, "size": len(data)}

    manifest = {"schemaVersion": 2, "config": blob(b"{}", "application/vnd.oci.image.config.v1+json"),
                "layers": [blob(x, "application/vnd.oci.image.layer.v1.tar+gzip") for x in layers_]}
    top = blob(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")
    others = [dict(top, digest=digest(b"x"), platform={"os": "linux", "architecture": "sparc"})]
    top = {"schemaVersion": 2, "manifests": others + [dict(top, platform={"os": "linux", "architecture": ARCH})]}
    if nested:
        top = {"schemaVersion": 2, "manifests": [blob(json.dumps(top).encode(), "application/vnd.oci.image.index.v1+json")]}
    if lie:
        blobs[digest(lie)] = lie + b"\0"
    files = [("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')] + [("./blobs/sha256/" + k[7:], v) for k, v in blobs.items()]
    files.append(("index.json", json.dumps(top).encode() if index is None else index))
    with tarfile.open(path, mode) as tar:
        for name, data in [*files, *extra]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def content(name):
    r = sh(name, "find . -mindepth 1 -printf '%p %y %m %s %l %n %T@\\n' | LC_ALL=C sort; md5sum a n dir/in; "
                 "python3 -c 'import os; print(os.getxattr(\"ren\", \"user.x\"))'")
    return r.out if r.status == 0 else (r.status, r.err)


# There and back.
fresh()
long = "l" * 253
open(f"{repo}/{long}", "w").close()
sh("s", f"set -e; echo new >n; ln n n2; ln -s n sym; mkfifo p; rm b; rm -r dir/sub; rm -r old; mkdir old; echo o >old/o; mkdir -p e/mpty; chmod 4711 keep; rm {long}; "
        "python3 -c 'import os; os.setxattr(\"ren\", \"user.x\", b\"1\"); os.truncate(\"a\", 3 << 20); open(b\"odd \\xff\\n\", \"w\").write(\"odd\")'; touch -d @5.25 n")
check("export", run("export", "s", "--oci", image), 0, b"", b"")
check("import", run("import", "t", "--oci", image), 0, b"", b"")
ok(content("t") == content("s") and b"odd \xff" in content("s") and b"b'1'" in content("s"), "is the same inside", [content("s"), content("t")])
ok(changes("t") == changes("s"), "with the same changes", [changes("s"), changes("t")])
ok(sh("t", "ls old").out == b"o\n", "a directory that replaced one")
with tarfile.open(image) as tar:
    names = tar.getnames()
    blobs = {n: tar.extractfile(n).read() for n in names}
ok(all(n in ("oci-layout", "index.json") or n == "blobs/sha256/" + digest(b)[7:] for n, b in blobs.items()), "blobs are called by their digest", names)
index = json.loads(blobs["index.json"])
manifest = json.loads(blobs["blobs/sha256/" + index["manifests"][0]["digest"][7:]])
config = json.loads(blobs["blobs/sha256/" + manifest["config"]["digest"][7:]])
one = manifest["layers"][0]
data = blobs["blobs/sha256/" + one["digest"][7:]]
ok(json.loads(blobs["oci-layout"]) == {"imageLayoutVersion": "1.0.0"} and manifest["schemaVersion"] == 2 and one["size"] == len(data) and
   config["architecture"] == ARCH and config["os"] == "linux" and config["rootfs"]["diff_ids"] == [one["digest"]], "what the specification asks for", [index, manifest, config])
with tarfile.open(fileobj=io.BytesIO(data)) as tar:
    have = {m.name.removeprefix(inside + "/"): m for m in tar.getmembers()}
ok(have[".wh.b"].size == 0 and "dir/.wh.sub" in have and "old/.wh..wh..opq" in have and ".wh.old" not in have and f".wh.{long}" in have and
   {have["n"].type, have["n2"].type} == {tarfile.REGTYPE, tarfile.LNKTYPE} and have["p"].isfifo() and have["sym"].linkname == "n", "whiteouts, links and the rest", sorted(have))
run("snapshot", "s", "tag")
sh("s", "rm n")
check("a snapshot", run("export", "s@tag", "--oci", image), 0, b"", b"")
check("imported", run("import", "u", "--oci", image), 0, b"", b"")
ok("n" in changes("u"), "is what it was", [changes("u")])
r = run("export", "s", "--oci", "-")
ok(r.status == 0 and r.out[257:262] == b"ustar", "to standard output", [r.status, r.err])
os.unlink(f"{repo}/{long}")

# Images of others.
fresh()
w = inside + "/"
make(gzip.compress(layer((w + "f", "1"), (w + "g", "1"), (w + "d/x", "1"), (w + "d/y", "1"), (w + "q", None), (w + "q/z", "1"), (w + "r", "file"))),
     layer(("./" + w + "d/z", "2"), ("/" + w + ".wh.g", ""), (w + "d/.wh..wh..opq", ""), (w + ".wh.b", ""), (w + "q", "now a file"), (w + "r", None), (w + "r/in", "2"),
           (w + ".wh..wh.plnk", None)), nested=True)
check("layers upon layers", run("import", "s", "--oci", image), 0, b"", b"")
ok(sh("s", "cat f q r/in d/z; ls g b d/x d/y 2>/dev/null; ls d").out == b"1now a file22z\n", "whiteouts hide those below only", [sh("s", "cat f q r/in d/z; ls d g b")])
ok(changes("s") == {"f": "A", "q": "A", "r": "A", "r/in": "A", "d": "A", "d/z": "A", "b": "D"}, "and are changes", [changes("s")])
make(layer((w + "own/f", "1"), (w + "own/sub/g", "1"), (w + "old/y", "1")),
     layer((w + "own/.wh.f", ""), (w + "own/sub/.wh..wh..opq", ""), (w + "own/sub/h", "2"), (w + "old/.wh.x", "")))
check("whiteouts where the host has nothing", run("import", "own", "--oci", image), 0, b"", b"")
ok(sh("own", "ls -A own own/sub old").out == b"old:\ny\n\nown:\nsub\n\nown/sub:\nh\n", "leave no files", [sh("own", "ls -A own own/sub old").out])
make(layer((w + "f", "1")), mode="w:gz")
check("a compressed image", run("import", "z", "--oci", image), 0, b"", b"")
make(b"")
check("an empty layer", run("import", "z0", "--oci", image), 0, b"", b"")
make(layer((w + "old/.wh..wh..opq", ""), (w + "keep", None), (w + "keep/in", "x")))
check("over the host's", run("import", "h", "--oci", image), 0, b"", b"")
ok(sh("h", "ls -A old; cat keep/in").out == b"x", "an opaque directory is empty, and a file may become a directory", [sh("h", "ls -A old; cat keep/in")])
os.chmod(repo, 0o710)
make(layer((w + "sub/f", "1")))
check("of files alone", run("import", "alone", "--oci", image), 0, b"", b"")
ok(changes("alone") == {"sub": "A", "sub/f": "A"}, "their directories stay as the host's are", [changes("alone")])
os.chmod(repo, 0o755)
make(layer((w + "null", "", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}), (w + "f", "1")))
r = run("import", "dev", "--oci", image)
ok(r.status == 0 and b"left out: a device" in r.err and changes("dev") == {"f": "A"}, "devices are left out, and said so", [r.err, changes("dev")])

# Images nobody should make: one line, nothing made, nothing outside touched.
victim = os.path.join(work, "victim")
with open(victim, "w") as f:
    f.write("mine")
kept = sorted(os.listdir(layers))
link = {"type": tarfile.SYMTYPE, "linkname": work}
good = layer((w + "f", "1"))
for what, kw, blobs, err in (
        ("..", {}, [layer(("../../../../../../../../../" + victim.lstrip("/"), "evil"))], b"leads out"),
        (".. in the middle", {}, [layer((w + "../../x", "evil"))], b"leads out"),
        ("a symlink, then through it", {}, [layer(("l", "", link), ("l/victim", "evil"))], b""),
        ("in two layers", {}, [layer(("l", "", link)), layer(("l/victim", "evil"))], b""),
        ("a whiteout through it", {}, [layer(("l", "", link)), layer(("l/.wh.victim", ""))], b""),
        ("an opaque mark through it", {}, [layer(("l", "", link)), layer(("l/.wh..wh..opq", ""), ("l/deep/.wh.x", ""))], None),
        ("a hard link out", {}, [layer(("h", "", {"type": tarfile.LNKTYPE, "linkname": "../../../../../" + victim}))], b"its link leads out"),
        ("a hard link to a host's path", {}, [layer(("h", "", {"type": tarfile.LNKTYPE, "linkname": victim}))], b""),
        ("a whiteout of nothing", {}, [layer((w + ".wh.", ""))], b"a whiteout of nothing"),
        ("a whiteout of ..", {}, [layer((w + ".wh...", ""))], b"a whiteout of nothing"),
        ("all replaced", {}, [layer((".wh..wh..opq", ""))], b"root directory"),
        ("another digest", {"lie": good}, [good], b"is not what its digest says"),
        ("a layer that is no tar", {}, [b"nonsense" * 1000], b""),
        ("a torn layer", {}, [good[:700]], b""),
        ("an index of nonsense", {"index": b"{"}, [good], b"index.json"),
        ("an index of nothing", {"index": b"{}"}, [good], b"holds no image"),
        ("a digest of nonsense", {"index": b'{"manifests":[{"digest":"sha256:../../x"}]}'}, [good], b"is no sha256 digest"),
        ("a blob that is not there", {"index": json.dumps({"manifests": [{"digest": digest(b"q")}]}).encode()}, [good], b"it has no blobs")):
    make(*blobs, **kw)
    r = run("import", "evil", "--oci", image)
    if err is None:
        ok(open(victim).read() == "mine" and os.path.isdir(work), what)
        run("rm", "evil")
        continue
    ok(r.status == 125 and r.err.count(b"\n") == 1 and err in r.err and open(victim).read() == "mine" and sorted(os.listdir(layers)) == kept, what,
       [r.status, r.err, sorted(os.listdir(layers))])
with open(image, "wb") as f:
    f.write(os.urandom(5000))
check("no archive at all", run("import", "evil", "--oci", image), 125, b"", image.encode())
check("no file", run("import", "evil", "--oci", image + "x"), 125, b"", b"No such file")
check("a name that is taken", run("import", "s", "--oci", image), 125, b"", b"'s': File exists")
check("export of nothing", run("export", "nothing", "--oci", image), 125, b"", b"there is no sandbox 'nothing'")
check("export to nowhere", run("export", "s", "--oci", "/nowhere/x"), 125, b"", b"/nowhere/x")
check("export without a file", run("export", "s"), 2, b"", b"--oci FILE is missing")
check("import without a name", run("import", "--oci", image), 2, b"", b"no name")
for made in ("touch own/.wh..wh.y", "echo mine >own/.wh.x", "mkdir own/.wh.x", "touch own/.wh.x"):
    sh("wh", f"rm -rf own; mkdir own; {made}")
    check(f"names that images cannot have: {made}", run("export", "wh", "--oci", image + "2"), 125, b"", b"images cannot have names")
ok(not [n for n in os.listdir(work) if n.startswith("image.tar2")], "leaves nothing", os.listdir(work))
raise SystemExit(tap.done())
