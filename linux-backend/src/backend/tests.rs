use silo_isolation::{Limits, Mount, Process, Root, User};
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
        network: silo_isolation::Network::None,
        limits: Limits::default(),
        state_dir: "/s".into(),
    }
}

fn ordinary_user() -> Facts {
    Facts { uid: 1000, gid: 1000, ..Facts::own() }
}

fn refused(bundle: &Bundle, facts: &Facts) -> Vec<String> {
    admit(bundle, facts).into_iter().map(|refusal| refusal.what).collect()
}

#[test]
fn all_that_cannot_be_is_refused_at_once() {
    let mut bundle = bundle();
    assert!(refused(&bundle, &ordinary_user()).is_empty());
    bundle.platform = Platform::new("linux", "s390x");
    bundle.process.user = Some(User { uid: 33, gid: 33, additional_gids: Vec::new() });
    bundle.mounts = vec![Mount {
        destination: "/".to_owned(),
        kind: MountKind::Bind { source: "relative".into() },
        readonly: false,
    }];
    assert_eq!(
        refused(&bundle, &ordinary_user()),
        ["the platform linux/s390x", "the user 33:33", "a mount on /", "the mount of relative"]
    );
}

#[test]
fn the_user_namespace_is_a_barrier_only_where_there_is_one() {
    let has = |user_namespace| {
        barriers(user_namespace).iter().any(|barrier| barrier.name == "user namespace")
    };
    assert!(has(true) && !has(false));
}
