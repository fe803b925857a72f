//! Layers that would reach outside, lie about themselves or exhaust who reads them.

use crate::{
    Case,
    Fate::{self, Contained, Refused},
    bytes::{Image, Tar, gzip},
    watch::Watched,
};

/// From a layer's tree, in `store/tmp/WORK/TREE`, to what lies beside the store.
const OUT: &str = "../../../../outside";

fn one(name: &'static str, tar: Tar, fate: Fate) -> Case {
    (name, Image::of(&[tar.end()]).archive(), fate)
}

fn two(name: &'static str, first: Tar, second: Tar, fate: Fate) -> Case {
    (name, Image::of(&[first.end(), second.end()]).archive(), fate)
}

pub(crate) fn cases(watched: &Watched) -> Vec<Case> {
    [paths(watched), links(watched), names(), sizes(), maps(), amounts()].concat_cases()
}

trait Concat {
    fn concat_cases(self) -> Vec<Case>;
}

impl<const N: usize> Concat for [Vec<Case>; N] {
    fn concat_cases(self) -> Vec<Case> {
        self.into_iter().flatten().collect()
    }
}

fn paths(watched: &Watched) -> Vec<Case> {
    let absolute = watched.text("outside/new");
    let new = Tar::default;
    let out = |rest: &str| format!("{OUT}/{rest}");
    vec![
        one("an absolute path", new().file(&absolute, b"x"), Refused("its path is absolute")),
        one("a path out", new().file(&out("file"), b"x"), Refused("it leads out")),
        one("a path in and out", new().file("a/../../x", b"x"), Refused("it leads out")),
        one(
            "a path out by a record",
            new().pax(&[("path", out("file").as_bytes())]).file("f", b"x"),
            Refused("it leads out"),
        ),
        one(
            "a path out by a sparse name",
            new()
                .pax(&[
                    ("GNU.sparse.name", out("file").as_bytes()),
                    ("GNU.sparse.size", b"1"),
                    ("GNU.sparse.map", b"0,1"),
                ])
                .file("f", b"x"),
            Refused("it leads out"),
        ),
        one("a directory above", new().entry(b'5', b"..", b"", b""), Refused("it leads out")),
        one(
            "the root as a file",
            new().file("./", b"").entry(b'2', b".", b"/", b""),
            Refused("it takes the place of the root"),
        ),
        one("a whiteout of ..", new().file("d/.wh...", b""), Refused("a whiteout of nothing")),
        one("a whiteout of .", new().file(".wh..", b""), Refused("a whiteout of nothing")),
        one("a whiteout of nothing", new().file(".wh.", b""), Refused("a whiteout of nothing")),
        one("a whiteout out", new().file(&out(".wh.file"), b""), Refused("it leads out")),
        one("an opaque mark out", new().file(&out(".wh..wh..opq"), b""), Refused("it leads out")),
        one("a file in a whiteout", new().file(".wh.d/f", b"x"), Refused("it lies in a whiteout")),
        one("AUFS's own out", new().file(".wh..wh.plnk/../../x", b"x"), Refused("it leads out")),
        one("no name", new().file("", b"x"), Refused("it has no name")),
    ]
}

fn links(watched: &Watched) -> Vec<Case> {
    let outside = watched.text("outside");
    let file = watched.text("outside/file");
    let new = Tar::default;
    vec![
        one(
            "a file through a link",
            new().symlink("l", &outside).file("l/new", b"x"),
            Refused("is no directory in this layer"),
        ),
        one(
            "a directory through a link",
            new().symlink("l", OUT).entry(b'5', b"l/d", b"", b""),
            Refused("is no directory in this layer"),
        ),
        one(
            "a whiteout through a link",
            new().symlink("l", &outside).file("l/.wh.file", b""),
            Refused("is no directory in this layer"),
        ),
        one(
            "an opaque mark through a link",
            new().symlink("l", &outside).file("l/.wh..wh..opq", b"").file("l/f", b""),
            Contained,
        ),
        one(
            "a hard link through a link",
            new().symlink("l", &outside).hard_link("h", "l/file"),
            Refused("is no file of this layer"),
        ),
        one(
            "a hard link to a path out",
            new().hard_link("h", &format!("{OUT}/file")),
            Refused("its hard link leads out of the layer"),
        ),
        one(
            "a hard link to an absolute path",
            new().hard_link("h", &file),
            Refused("its hard link leads out of the layer"),
        ),
        one(
            "a file written over a hard link to a link",
            new().symlink("l", &file).hard_link("h", "l").file("h", b"changed"),
            Contained,
        ),
        one("a file in place of a link", new().symlink("l", &file).file("l", b"new"), Contained),
        one("a link out that nothing goes through", new().symlink("l", &file), Contained),
        two(
            "a file through a link of the layer below",
            new().symlink("l", &outside),
            new().file("l/new", b"x"),
            Contained,
        ),
        two(
            "a whiteout through a link of the layer below",
            new().symlink("l", &outside),
            new().file("l/.wh.file", b""),
            Contained,
        ),
        two(
            "a hard link to the layer below",
            new().file("f", b"x"),
            new().hard_link("h", "f"),
            Refused("is no file of this layer"),
        ),
        one(
            "a target with a NUL",
            new().pax(&[("linkpath", b"a\0b")]).symlink("l", "x"),
            Refused("its target holds a NUL"),
        ),
        one(
            "a target that is too long",
            new().symlink("l", &"t".repeat(4096)),
            Refused("its target is longer than 4095 bytes"),
        ),
        one(
            "a device that is a whiteout",
            new().entry(b'3', b"d", b"", b""),
            Refused("how overlayfs marks a whiteout"),
        ),
        one(
            "overlayfs's own attributes",
            new()
                .pax(&[("SCHILY.xattr.trusted.overlay.redirect", outside.as_bytes())])
                .entry(b'5', b"d", b"", b""),
            Contained,
        ),
    ]
}

fn names() -> Vec<Case> {
    let new = Tar::default;
    let deep = |count: usize| format!("{}f", "d/".repeat(count));
    vec![
        one("a NUL", new().pax(&[("path", b"a\0b")]).file("f", b"x"), Refused("holds a NUL")),
        // Linux allows it and Docker takes it; messages show it escaped.
        one(
            "a newline",
            new().pax(&[("path", b"a\nsilo: all is well")]).file("f", b"x"),
            Contained,
        ),
        one(
            "a newline in a message",
            new().file("/a\nsilo: \x1b[2Jall is well", b"x"),
            Refused(r"refused entry `/a\nsilo: \u{1b}[2Jall is well` of the layer"),
        ),
        one(
            "a name that is too long",
            new().file(&"n".repeat(256), b"x"),
            Refused("its name is longer than 255 bytes"),
        ),
        one(
            "a path that is too long",
            new().file(&format!("{}/", "n".repeat(200)).repeat(21), b""),
            Refused("its path is longer than 4095 bytes"),
        ),
        one("a deep path", new().file(&deep(256), b"x"), Refused("more than 256 components")),
        one("a path as deep as may be", new().file(&deep(255), b"x"), Contained),
        one(
            "a very long name",
            new().entry(b'L', b"", b"", &vec![b'n'; 2 << 20]).file("f", b""),
            Refused("longer than a mebibyte"),
        ),
        one(
            "very long records",
            new().entry(b'x', b"", b"", &vec![b'n'; 2 << 20]).file("f", b""),
            Refused("longer than a mebibyte"),
        ),
        one(
            "a name that is said to be long",
            new().raw(Tar::header(b'L', b"n"), 1 << 60, b"name").file("f", b""),
            Refused("longer than a mebibyte"),
        ),
        one(
            "records that lie about their length",
            new().entry(b'x', b"", b"", b"99999999999999999999 path=x\n").file("f", b""),
            Refused("a pax record is malformed"),
        ),
        one("a name for nothing", new().entry(b'L', b"", b"", b"name"), Refused("is truncated")),
    ]
}

fn sizes() -> Vec<Case> {
    let new = Tar::default;
    let sized = |size: &[u8; 12]| {
        let mut header = Tar::header(b'0', b"f");
        header.as_old_mut().size = *size;
        header.set_cksum();
        let mut tar = Tar(header.as_bytes().to_vec());
        tar.0.resize(2048, b'x');
        tar
    };
    vec![
        one(
            "more than there is",
            new().raw(Tar::header(b'0', b"f"), 1 << 30, b"x"),
            Refused("is truncated"),
        ),
        one(
            "more than a tebibyte",
            new().raw(Tar::header(b'0', b"f"), 1 << 41, b"x"),
            Refused("longer than a tebibyte"),
        ),
        one(
            "a size by a record",
            new().pax(&[("size", b"99999999999")]).file("f", b"x"),
            Refused("is truncated"),
        ),
        one(
            "more than any number",
            new().pax(&[("size", b"99999999999999999999999")]).file("f", b"x"),
            Refused("a pax record is malformed"),
        ),
        one(
            "as much as a number",
            new().pax(&[("size", b"18446744073709551615")]).file("f", b"x"),
            Refused("longer than any archive"),
        ),
        one("less than nothing", sized(&[0xff; 12]), Refused("its size is unreadable")),
        one("no number", sized(b"many bytes\0\0"), Refused("its size is unreadable")),
        one("a wrong checksum", Tar(vec![b'x'; 1024]), Refused("is not in tar format")),
        one(
            "entries after the end",
            Tar(new()
                .file("a", b"")
                .file("b", b"")
                .0
                .iter()
                .copied()
                .chain([0; 512])
                .chain(new().file("hidden", b"").0)
                .collect()),
            Refused("it goes on after an empty block"),
        ),
    ]
}

fn maps() -> Vec<Case> {
    let sparse =
        |records: &[(&str, &[u8])], data: &[u8]| Tar::default().pax(records).file("f", data);
    let version_1 = |size: &[u8], map: &[u8]| {
        let data = [map, &vec![0; 512 - map.len()], b"data"].concat();
        sparse(&[("GNU.sparse.major", b"1"), ("GNU.sparse.realsize", size)], &data)
    };
    let malformed = || Refused("its sparse map is malformed");
    let mut old = Tar::header(b'S', b"f");
    let gnu = old.as_gnu_mut().unwrap();
    gnu.set_real_size(u64::MAX >> 1);
    gnu.sparse[0].set_offset(1 << 62);
    gnu.sparse[0].set_length(4);
    let mut endless = Tar::header(b'S', b"f");
    endless.as_gnu_mut().unwrap().set_is_extended(true);
    vec![
        one(
            "an absurd size",
            sparse(
                &[("GNU.sparse.size", b"9223372036854775807"), ("GNU.sparse.map", b"0,4")],
                b"data",
            ),
            Refused("longer than a tebibyte"),
        ),
        one("an absurd offset", version_1(b"99", b"1\n18446744073709551615\n4\n"), malformed()),
        one("an absurd count", version_1(b"99", b"18446744073709551615\n"), malformed()),
        one("a count of what is not there", version_1(b"99", b"1000000\n"), malformed()),
        one("pieces that overlap", version_1(b"99", b"2\n0\n3\n2\n1\n"), malformed()),
        one("a number without end", version_1(b"99", &[b'1'; 500]), malformed()),
        one(
            "an absurd size of old",
            Tar::default().raw(old, 4, b"data"),
            Refused("longer than a tebibyte"),
        ),
        one(
            "blocks of pieces without end",
            Tar::default().raw(endless, 0, &[b'1'; 5120]),
            malformed(),
        ),
        // It takes no room, as long as nobody fills it.
        one(
            "a tebibyte of hole",
            sparse(&[("GNU.sparse.size", b"1099511627776"), ("GNU.sparse.map", b"0,4")], b"data"),
            Contained,
        ),
    ]
}

fn amounts() -> Vec<Case> {
    let zeros = Tar::default().file("zeros", &vec![0; 32 << 20]).end();
    let bomb = {
        let mut image = Image::default();
        let layer = image.blob("layer.v1.tar+gzip", &gzip(&zeros));
        let config = image.config(&[silo_layers::Digest::of(&zeros)]);
        let manifest = image.manifest(&config, &[layer]);
        image.top.push(manifest);
        image.archive()
    };
    vec![
        ("a layer that is a bomb", bomb, Refused("decompression was stopped")),
        (
            "an archive that is a bomb",
            gzip(&Image::of(&[zeros]).archive()),
            Refused("decompression was stopped"),
        ),
    ]
}
