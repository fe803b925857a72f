//! `silo info`

use std::{fmt::Write as _, process::ExitCode};

use clap::Args;
use serde_json::{Value, json};
use silo_engine::Status;
use silo_isolation::IsolationBackend;

use crate::{context::Context, failure::Result, format, output};

/// Tell where the store lies, what is in it, and what isolates here
#[derive(Debug, Args)]
pub(crate) struct Info {
    /// A template such as '{{.Root}}', or json
    #[arg(short, long)]
    format: Option<String>,
}

impl Info {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        let containers = engine.list()?.containers;
        let count = |status| containers.iter().filter(|one| one.state.status == status).count();
        let backends: Vec<Value> =
            engine.backends().iter().map(|backend| describe(backend.as_ref())).collect();
        let info = json!({
            "Containers": containers.len(),
            "ContainersRunning": count(Status::Running),
            "ContainersPaused": count(Status::Paused),
            "ContainersStopped": count(Status::Exited),
            "ContainersCreated": count(Status::Created),
            "Images": engine.store().images()?.len(),
            "ServerVersion": env!("CARGO_PKG_VERSION"),
            "OSType": std::env::consts::OS,
            "Architecture": std::env::consts::ARCH,
            "Root": context.root(),
            "Backends": backends,
        });
        match &self.format {
            Some(_) => output::print(&format::inspect(self.format.as_deref(), &[info])?)?,
            None => output::print(&text(&info))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn describe(backend: &dyn IsolationBackend) -> Value {
    json!({
        "Name": backend.name(),
        "Platforms": backend.platforms(),
        "Barriers": backend.barriers(),
    })
}

fn text(info: &Value) -> String {
    let mut text = String::new();
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut say =
        |line: String| writeln!(text, "{line}").expect("writing to a String does not fail");
    say(format!("Version: {}", word(&info["ServerVersion"])));
    say(format!("Root: {}", word(&info["Root"])));
    say(format!(
        "Containers: {} ({} running, {} paused, {} stopped, {} created)",
        info["Containers"],
        info["ContainersRunning"],
        info["ContainersPaused"],
        info["ContainersStopped"],
        info["ContainersCreated"]
    ));
    say(format!("Images: {}", info["Images"]));
    for backend in list(&info["Backends"]) {
        let platforms: Vec<String> = list(&backend["Platforms"]).iter().map(word).collect();
        say(format!("Backend {}: runs {}", word(&backend["Name"]), platforms.join(", ")));
        for barrier in list(&backend["Barriers"]) {
            say(format!("  {}: {}", word(&barrier["name"]), word(&barrier["keeps"])));
        }
    }
    text
}
