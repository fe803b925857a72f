//! How a guest is kept apart, where there is a choice.

use serde::{Deserialize, Serialize};

/// What is asked of the isolation itself. The default is the backend's own; it refuses what it
/// has no choice of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Security {
    /// Whose users the guest's are.
    pub users: Users,
}

/// Whose users a guest's are (`user_namespaces(7)`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Users {
    /// Its own: whoever is root inside is nobody in particular outside.
    #[default]
    Own,
    /// The host's, by the same numbers: root inside is root outside.
    Host,
}
