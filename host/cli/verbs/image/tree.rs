//! `silo image tree`

use std::{collections::BTreeMap, fmt::Write as _, process::ExitCode};

use clap::Args;
use silo_layers::{Digest, Image, ImageSummary, Store};

use crate::{context::Context, failure::Result, format, output};

/// Show which layers images are made of, and which they share
#[derive(Debug, Args)]
pub(crate) struct Tree {
    /// Whole ids
    #[arg(long)]
    no_trunc: bool,
    /// Only these images
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
}

/// A layer on top of those above it in the tree.
#[derive(Default)]
struct Layer {
    size: u64,
    /// The images that end with it.
    images: Vec<String>,
    above: BTreeMap<Digest, Layer>,
}

impl Tree {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let store = context.store()?;
        let _pin = store.pin()?;
        let mut root = Layer::default();
        for (label, image) in self.wanted(&store)? {
            root.add(&image, label);
        }
        let mut text = String::new();
        for (digest, layer) in &root.above {
            self.draw(*digest, layer, "", "", &mut text);
        }
        for image in &root.images {
            writeln!(text, "(no layer)  {image}").expect("text takes any text");
        }
        output::print(&text)?;
        Ok(ExitCode::SUCCESS)
    }

    /// The images with what they are called.
    fn wanted(&self, store: &Store) -> Result<Vec<(String, Image)>> {
        let all = store.images()?;
        let mut wanted = Vec::new();
        for summary in &all {
            for image in store.members(summary)? {
                wanted.push((label(summary, &image), image));
            }
        }
        if self.images.is_empty() {
            return Ok(wanted);
        }
        let mut chosen = Vec::new();
        for name in &self.images {
            let image = store.resolve(name, &[])?;
            let known = wanted.iter().find(|(_, known)| known.digest == image.digest);
            chosen.extend(known.cloned());
        }
        Ok(chosen)
    }

    fn draw(&self, digest: Digest, layer: &Layer, first: &str, rest: &str, text: &mut String) {
        let id = if self.no_trunc { digest.to_string() } else { digest.short() };
        let images = layer.images.join(", ");
        let line = format!("{first}{id}  {:<8}  {images}", format::size(layer.size));
        writeln!(text, "{}", line.trim_end()).expect("text takes any text");
        let mut above = layer.above.iter().peekable();
        while let Some((digest, layer)) = above.next() {
            let (branch, bar) =
                if above.peek().is_some() { ("├─ ", "│  ") } else { ("└─ ", "   ") };
            self.draw(*digest, layer, &format!("{rest}{branch}"), &format!("{rest}{bar}"), text);
        }
    }
}

impl Layer {
    fn add(&mut self, image: &Image, label: String) {
        let mut layer = self;
        for (descriptor, diff_id) in image.layers() {
            layer = layer.above.entry(diff_id).or_default();
            layer.size = descriptor.size();
        }
        layer.images.push(label);
    }
}

fn label(summary: &ImageSummary, image: &Image) -> String {
    let names: Vec<String> = summary.names.iter().map(silo_layers::Reference::familiar).collect();
    let name = if names.is_empty() { image.id.short() } else { names.join(", ") };
    match summary.platforms.len() {
        1 => name,
        _ => format!("{name} ({})", image.platform),
    }
}
