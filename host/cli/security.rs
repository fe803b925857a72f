//! The options of `run` and `create` that say how a container is kept apart.

use clap::{Args, ValueEnum};
use silo_isolation::{Security, Users};

/// Whose users those of a container are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum UsersArg {
    /// Its own: root inside is nobody outside
    Auto,
    /// The host's: root inside is root outside
    Host,
}

/// What is asked of the isolation.
#[derive(Debug, Args)]
pub(crate) struct SecurityArgs {
    /// Whose users those in the container are: its own (auto), or the host's
    #[arg(
        long,
        value_enum,
        default_value = "auto",
        value_name = "auto|host",
        hide_possible_values = true
    )]
    userns: UsersArg,
}

impl SecurityArgs {
    /// The engine's view of the options.
    pub(crate) fn security(&self) -> Security {
        Security {
            users: match self.userns {
                UsersArg::Auto => Users::Own,
                UsersArg::Host => Users::Host,
            },
        }
    }
}
