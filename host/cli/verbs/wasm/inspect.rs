//! `silo wasm inspect`

use std::{fmt::Write as _, fs, path::Path, process::ExitCode};

use clap::Args;
use serde_json::{Value, json};
use silo_layers::Platform;
use silo_wasi::Interface;

use crate::{
    context::Context,
    failure::{Failure, Result},
    format, output, values,
    wasm_program::Program,
};

/// Tell what WebAssembly programs import and export
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Of the images for this platform
    #[arg(long, value_name = "OS/ARCH", value_parser = values::platform)]
    platform: Option<Platform>,
    /// A template such as '{{.Kind}}', or json
    #[arg(short, long, conflicts_with = "wit")]
    format: Option<String>,
    /// The component's world, in WIT
    #[arg(long)]
    wit: bool,
    /// Names or ids, or files: paths that begin with a dot or are absolute
    #[arg(required = true, value_name = "IMAGE|FILE")]
    programs: Vec<String>,
}

impl Inspect {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        if self.format.is_none() {
            return output::each(&self.programs, |name| {
                let text = self.tell(&self.read(context, name)?)?;
                Ok(text.trim_end().to_owned())
            });
        }
        let items: Result<Vec<Value>> =
            self.programs.iter().map(|name| as_json(&self.read(context, name)?)).collect();
        output::print(&format::inspect(self.format.as_deref(), &items?)?)?;
        Ok(ExitCode::SUCCESS)
    }

    fn read(&self, context: &Context, name: &str) -> Result<Program> {
        if !(name.starts_with('.') || Path::new(name).is_absolute()) {
            return super::program(context, name, self.platform.as_ref());
        }
        let bytes = fs::read(name)
            .map_err(|error| Failure::caused(format!("cannot read `{name}`"), error))?;
        Ok(Program { path: name.to_owned(), bytes })
    }

    fn tell(&self, program: &Program) -> Result<String> {
        if self.wit {
            return silo_wasi::world(&program.bytes).ok_or_else(|| {
                Failure::new(format!("`{}` has no world: it is no component", program.path))
                    .with_hint("without --wit a module's imports and exports are told")
            });
        }
        let Interface { imports, exports, .. } = interface(program)?;
        let mut text = format!(
            "program  {}\nkind     {}\nsize     {}\n",
            output::visible(&program.path),
            kind(program)?,
            format::size(program.bytes.len() as u64)
        );
        for (heading, names) in [("imports", imports), ("exports", exports)] {
            writeln!(text, "{heading}").expect("text takes any text");
            for name in names {
                writeln!(text, "  {}", output::visible(&name)).expect("text takes any text");
            }
        }
        Ok(text)
    }
}

fn interface(program: &Program) -> Result<Interface> {
    silo_wasi::interface(&program.bytes)
        .ok_or_else(|| Failure::new(format!("`{}` is not WebAssembly, or damaged", program.path)))
}

fn kind(program: &Program) -> Result<&'static str> {
    Ok(if interface(program)?.is_component { "component" } else { "module" })
}

fn as_json(program: &Program) -> Result<Value> {
    let Interface { imports, exports, .. } = interface(program)?;
    Ok(json!({
        "Program": program.path,
        "Kind": kind(program)?,
        "Size": program.bytes.len(),
        "Imports": imports,
        "Exports": exports,
        "World": silo_wasi::world(&program.bytes),
    }))
}
