//! `silo port`

use std::process::ExitCode;

use clap::Args;
use silo_isolation::{Protocol, Publication};

use crate::{
    context::Context,
    failure::{Failure, Result},
    output,
};

/// Tell which ports of the host lead to a running container
#[derive(Debug, Args)]
pub(crate) struct Port {
    /// Its name or id
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// Only what leads to this port of the container's
    #[arg(value_name = "PORT[/tcp|udp]", value_parser = guest_port)]
    port: Option<(u16, Protocol)>,
}

impl Port {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        let summary = context.engine()?.inspect(&self.container)?;
        let ports = &summary.state.ports;
        let Some((port, protocol)) = self.port else {
            let line = |own: &Publication| {
                format!("{}/{} -> {}\n", own.guest_port, own.protocol, own.host())
            };
            output::print(&ports.iter().map(line).collect::<String>())?;
            return Ok(ExitCode::SUCCESS);
        };
        let of_port = |own: &&Publication| own.guest_port == port && own.protocol == protocol;
        let found: Vec<_> = ports.iter().filter(of_port).collect();
        if found.is_empty() {
            let name = &summary.container.name;
            return Err(Failure::new(format!("port {port}/{protocol} of {name} is not published")));
        }
        let hosts: Vec<String> = found.iter().map(|own| own.host().to_string()).collect();
        output::line(&hosts.join("\n"))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// `80` or `80/udp`.
fn guest_port(text: &str) -> std::result::Result<(u16, Protocol), String> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = [Protocol::Tcp, Protocol::Udp].into_iter().find(|own| own.name() == protocol);
    protocol
        .and_then(|protocol| Some((port.parse().ok()?, protocol)))
        .ok_or_else(|| "expected a port such as 80 or 53/udp".to_owned())
}
