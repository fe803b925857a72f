use silo_isolation::{Limits, Mount, Process, Root, Security, User};
use silo_layers::Snapshot;

use super::*;

fn bundle() -> Bundle {
    Bundle {
        id: "c0ffee".to_owned(),
        platform: Platform::linux(),
        root: Root {
            snapshot: Snapshot { lowers: Vec::new(), upper: "/u".into(), work: "/w".into() },
            readonly: false,
            volatile: false,
        },
        process: Process::default(),
        hostname: "c0ffee".to_owned(),
        mounts: Vec::new(),
        network: Network::None,
        access: silo_isolation::NetworkAccess::default(),
        components: Vec::new(),
        limits: Limits::default(),
        security: Security::default(),
        sysctls: std::collections::BTreeMap::new(),
        init: false,
        state_dir: "/s".into(),
    }
}

fn refused_to_an_ordinary_user(bundle: &Bundle) -> Vec<String> {
    admit(bundle, false).into_iter().map(|refusal| refusal.what).collect()
}

#[test]
fn all_that_cannot_be_is_refused_at_once() {
    let mut bundle = bundle();
    assert!(refused_to_an_ordinary_user(&bundle).is_empty());
    bundle.platform = Platform::new("linux", "s390x");
    bundle.process.user = Some(User { uid: 33, gid: 33, additional_gids: Vec::new() });
    bundle.mounts = vec![Mount {
        destination: "/".to_owned(),
        kind: MountKind::Bind { source: "relative".into() },
        readonly: false,
    }];
    bundle.security.users = Some(Users::Host);
    bundle.security.add_capabilities = vec!["fly".to_owned()];
    assert_eq!(
        refused_to_an_ordinary_user(&bundle),
        [
            "the platform linux/s390x",
            "the capability fly",
            "--userns host",
            "the user 33:33",
            "a mount on /",
            "the mount of relative"
        ]
    );
}
