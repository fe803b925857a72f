//! The default capabilities: Podman's eleven (capabilities(7)).

/// A capability.
pub(crate) struct Capability {
    pub(crate) name: &'static str,
    /// Its number in linux/capability.h.
    pub(crate) number: u8,
}

const fn capability(name: &'static str, number: u8) -> Capability {
    Capability { name, number }
}

/// What user 0 has inside, and what nobody there can have more than.
pub(crate) const CAPABILITIES: &[Capability] = &[
    capability("CAP_CHOWN", 0),
    capability("CAP_DAC_OVERRIDE", 1),
    capability("CAP_FOWNER", 3),
    capability("CAP_FSETID", 4),
    capability("CAP_KILL", 5),
    capability("CAP_SETGID", 6),
    capability("CAP_SETUID", 7),
    capability("CAP_SETPCAP", 8),
    capability("CAP_NET_BIND_SERVICE", 10),
    capability("CAP_SYS_CHROOT", 18),
    capability("CAP_SETFCAP", 31),
];
