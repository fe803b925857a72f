//! Archives whose documents lie, or are made to exhaust who reads them.

use serde_json::{Value, json};
use silo_layers::Digest;

use crate::{
    Case,
    Fate::{Contained, Refused},
    bytes::{CONFIG, Image, LAYER, MANIFEST, Tar},
};

fn layer() -> Vec<u8> {
    Tar::default().file("file", b"x").end()
}

/// An image whose one layer and config are described as `change` says.
fn described(change: impl FnOnce(&mut Value, &mut Value)) -> Vec<u8> {
    let mut image = Image::default();
    let mut config = image.config(&[Digest::of(&layer())]);
    let mut layer = image.blob(LAYER, &layer());
    change(&mut config, &mut layer);
    let manifest = image.manifest(&config, &[layer]);
    image.top.push(manifest);
    image.archive()
}

pub(crate) fn cases() -> Vec<Case> {
    [documents(), lies(), nesting(), amounts()].into_iter().flatten().collect()
}

fn lies() -> Vec<Case> {
    let other = Digest::of(b"other");
    let mut swapped = Image::default();
    let config = swapped.config(&[other]);
    let blob = swapped.blob(LAYER, &layer());
    let manifest = swapped.manifest(&config, &[blob.clone(), blob]);
    swapped.top.push(manifest);
    let mut wrong_diff_id = Image::default();
    let config = wrong_diff_id.config(&[other]);
    let blob = wrong_diff_id.blob(LAYER, &layer());
    let manifest = wrong_diff_id.manifest(&config, &[blob]);
    wrong_diff_id.top.push(manifest);
    let mut twice = Image::default();
    let config = twice.config(&[Digest::of(&layer()), other]);
    let blob = twice.blob(LAYER, &layer());
    let manifest = twice.manifest(&config, &[blob.clone(), blob]);
    twice.top.push(manifest);
    vec![
        (
            "a layer longer than it is",
            described(|_, layer| layer["size"] = json!(1_u64 << 40)),
            Refused("its descriptor says 1099511627776"),
        ),
        (
            "a layer shorter than it is",
            described(|_, layer| layer["size"] = json!(1)),
            Refused("its descriptor says 1"),
        ),
        (
            "a layer of less than nothing",
            described(|_, layer| layer["size"] = json!(-1)),
            Refused("is malformed"),
        ),
        (
            "a config shorter than it is",
            described(|config, _| config["size"] = json!(2)),
            Refused("its descriptor says 2"),
        ),
        (
            "another blob's digest",
            described(|_, layer| layer["digest"] = json!(other)),
            Refused("is missing"),
        ),
        (
            "a digest that is a path",
            described(|_, layer| layer["digest"] = json!("sha256:../../../outside/file")),
            Refused("is malformed"),
        ),
        (
            "a digest of another kind",
            described(|_, layer| layer["digest"] = json!(format!("sha512:{}", "0".repeat(128)))),
            Refused("is not a digest"),
        ),
        (
            "a media type that forges a line",
            described(|_, layer| layer["mediaType"] = json!("a\nsilo: \u{1b}[2Jall is well")),
            Refused(r"unknown media type `a\nsilo: \u{1b}[2Jall is well`"),
        ),
        ("another diffID", wrong_diff_id.archive(), Refused("does not match its digest")),
        ("another diffID the second time", twice.archive(), Refused("does not match its digest")),
        ("more layers than diffIDs", swapped.archive(), Refused("its manifest has 2 layers")),
    ]
}

fn documents() -> Vec<Case> {
    let docker = |manifest: &str| Tar::default().file("manifest.json", manifest.as_bytes()).end();
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let huge = vec![b' '; (16 << 20) + 1];
    let with_index = |content: &[u8]| {
        let layout = br#"{"imageLayoutVersion":"1.0.0"}"#;
        Tar::default().file("oci-layout", layout).file("index.json", content).end()
    };
    let mut deep_config = Image::default();
    let deep = format!(r#"{{"architecture":{nested},"os":"linux","rootfs":{{}}}}"#);
    let config = deep_config.blob(CONFIG, deep.as_bytes());
    let manifest = deep_config.manifest(&config, &[]);
    deep_config.top.push(manifest);
    let mut huge_manifest = Image::default();
    let manifest = huge_manifest.blob(MANIFEST, &huge);
    huge_manifest.top.push(manifest);
    let loop_of_links =
        Tar::default().symlink("manifest.json", "b").symlink("b", "manifest.json").end();
    vec![
        ("nested JSON as an index", with_index(nested.as_bytes()), Refused("is malformed")),
        ("nested JSON as manifest.json", docker(&nested), Refused("is malformed")),
        ("nested JSON in a config", deep_config.archive(), Refused("is malformed")),
        ("a huge index", with_index(&huge), Refused("is longer than 16777216 bytes")),
        ("a huge manifest", huge_manifest.archive(), Refused("is longer than 16777216 bytes")),
        (
            "a config outside",
            docker(r#"[{"Config":"../outside/file","Layers":[]}]"#),
            Refused("it holds no ../outside/file"),
        ),
        (
            "a name that is none",
            docker(r#"[{"Config":"c","RepoTags":["../a"],"Layers":[]}]"#),
            Refused("invalid reference"),
        ),
        ("links in a circle", loop_of_links, Refused("neither index.json nor manifest.json")),
    ]
}

fn nesting() -> Vec<Case> {
    let mut deep = Image::of(&[layer()]);
    let mut top = deep.top.remove(0);
    for _ in 0..10 {
        top = deep.index(&[top]);
    }
    deep.top.push(top);
    // Eight levels of a hundred each: as a tree 10^16 images, and one image as it is.
    let mut wide = Image::of(&[layer()]);
    let mut top = wide.top.remove(0);
    for _ in 0..8 {
        top = wide.index(&vec![top; 100]);
    }
    wide.top.push(top);
    let mut empty = Image::default();
    let top = empty.index(&[]);
    empty.top.push(top);
    vec![
        ("indexes nested deeply", deep.archive(), Refused("nested too deeply")),
        ("indexes nested widely", wide.archive(), Contained),
        ("an index of nothing", empty.archive(), Refused("none of its images is there")),
    ]
}

fn amounts() -> Vec<Case> {
    let mut many = Image::of(&[layer()]);
    let image = many.top.remove(0);
    let index = many.index(&vec![image; 5000]);
    many.top.push(index);
    let tall = Image::of(&vec![layer(); 501]);
    let repeated = Image::of(&vec![layer(); 400]);
    let names = (0..5000).map(|index| format!("a:{index}")).collect::<Vec<_>>();
    let named = json!([{ "Config": "c", "RepoTags": names, "Layers": [] }]).to_string();
    vec![
        ("thousands of images", many.archive(), Refused("it holds more than 4096 images")),
        ("hundreds of layers", tall.archive(), Refused("it has more than 500 layers")),
        ("one layer hundreds of times", repeated.archive(), Contained),
        (
            "thousands of names",
            Tar::default().file("manifest.json", named.as_bytes()).end(),
            Refused("it names more than 4096 images"),
        ),
    ]
}
