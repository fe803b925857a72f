use std::{collections::BTreeMap, path::Path};

use silo_isolation::{Isolation, Limits, Mount, MountKind, Root, Security, User};
use silo_layers::{Digest, Lower, Platform, Snapshot};

use super::*;
use crate::{
    cgroup::{Controller, Hierarchy},
    devices::{DeviceList, Given, Id, RULES},
    facts::IdSource,
    rootless::{Extent, OwnIds},
    sys::Attributes,
};

pub(super) fn bundle() -> Bundle {
    let lower = |name: &str| Lower {
        diff_id: Digest::of(name.as_bytes()),
        path: Path::new("/store/layers").join(name),
    };
    Bundle {
        id: "c0ffee".to_owned(),
        platform: Platform::linux(),
        root: Root {
            snapshot: Snapshot {
                lowers: vec![lower("top"), lower("b:ottom")],
                upper: "/store/containers/c0ffee/upper".into(),
                work: "/store/containers/c0ffee/work".into(),
            },
            readonly: true,
            volatile: true,
        },
        process: Process {
            args: vec!["sh".to_owned(), "-c".to_owned(), "true".to_owned()],
            env: vec!["PATH=/bin::/usr/bin".to_owned()],
            cwd: "/home".to_owned(),
            user: None,
            terminal: false,
        },
        hostname: "c0ffee".to_owned(),
        mounts: vec![
            Mount {
                destination: "/data".to_owned(),
                kind: MountKind::Bind { source: "/host/data".into() },
                readonly: true,
            },
            Mount {
                destination: "/scratch".to_owned(),
                kind: MountKind::Tmpfs { size: Some(4096), mode: None },
                readonly: false,
            },
        ],
        network: Network::None,
        access: silo_isolation::NetworkAccess::default(),
        components: Vec::new(),
        limits: Limits {
            memory: Some(1 << 20),
            nano_cpus: Some(500_000_000),
            cpuset_cpus: Some("0".to_owned()),
            pids: Some(7),
            ulimits: vec!["nofile=5:-1".parse().unwrap()],
            oom_score_adj: Some(-7),
            shm_size: Some(1 << 20),
            ..Limits::default()
        },
        security: Security::default(),
        init: true,
        sysctls: BTreeMap::from([("net.ipv4.ip_forward".to_owned(), "1".to_owned())]),
        state_dir: "/store/containers/c0ffee/state".into(),
    }
}

const HOST: IdSource = IdSource::Host;
pub(super) const RANGE: IdSource = IdSource::Range { first: 1_000_000_000 };
const SINGLE: IdSource = IdSource::Single { own: (1000, 1000), inside: (0, 0) };

pub(super) fn facts(ids: IdSource) -> Facts {
    Facts {
        ids,
        own_ids: OwnIds::default(),
        _lease: None,
        landlock: 0,
        apparmor: false,
        uptime: Some(Uptime { monotonic: 5000, boottime: 6000 }),
        cgroups: None,
        most_files: Some(4096),
        given: Vec::new(),
        permitted: None,
        devices: BTreeMap::new(),
        arguments: Some(Arguments { start: 5, end: 9 }),
        resolv_conf: None,
        hosts: None,
        directories: [PathBuf::from("/host/data")].into(),
    }
}

fn policy(security: &Security) -> Policy {
    Policy::of(security).unwrap()
}

fn plan(bundle: &Bundle, facts: &Facts) -> Plan {
    Plan::new(bundle, facts, policy(&bundle.security)).unwrap()
}

#[test]
fn the_plan_of_root() {
    let mounts = Controller::ALL.map(|c| (c, Path::new("/cgroup").join(c.legacy_name()))).to_vec();
    let facts = Facts { cgroups: Some(Hierarchy::Legacy { mounts }), ..facts(RANGE) };
    insta::assert_debug_snapshot!(plan(&bundle(), &facts));
}

#[test]
fn the_plan_of_an_ordinary_user_with_the_hosts_network() {
    let facts = Facts {
        cgroups: Some(Hierarchy::Unified { base: "/cgroup/user".into() }),
        resolv_conf: Some("nameserver 192.0.2.1\n".to_owned()),
        hosts: Some("127.0.0.1 localhost\n192.0.2.2 neighbour\n".to_owned()),
        ..facts(SINGLE)
    };
    let limits = Limits { ulimits: Vec::new(), oom_score_adj: None, ..bundle().limits };
    let sysctls = BTreeMap::new();
    let bundle = Bundle { network: Network::Host, init: false, limits, sysctls, ..bundle() };
    insta::assert_debug_snapshot!(plan(&bundle, &facts));
}

#[test]
fn a_user_other_than_zero_keeps_no_capability() {
    let user = User { uid: 1, gid: 2, additional_gids: vec![3] };
    let process = Process { user: Some(user), ..bundle().process };
    let identity =
        ProcessPlan::new(&process, &bundle(), &facts(HOST), policy(&Security::default()))
            .unwrap()
            .identity;
    assert!(identity.capabilities.permitted.is_empty());
    assert!(!identity.bounding.is_empty());
}

#[test]
fn layers_whose_paths_fill_a_page_are_added_one_by_one_only() {
    let mut bundle = bundle();
    let lower = bundle.root.snapshot.lowers.remove(0);
    bundle.root.snapshot.lowers = vec![lower; 500];
    let plan = plan(&bundle, &facts(HOST));
    assert_eq!(plan.root.lowers.len(), 500);
    assert!(plan.root.data.is_none());
}

#[test]
fn the_plan_of_strict_isolation_has_less() {
    let security = Security { isolation: Isolation::Strict, ..Security::default() };
    let plan = plan(&Bundle { security, ..bundle() }, &facts(RANGE));
    let kinds: Vec<_> = plan
        .mounts
        .iter()
        .filter_map(|mount| match &mount.source {
            Source::New { kind, options } => Some((kind.to_str().unwrap(), options.len())),
            Source::Tree { .. } | Source::Part { .. } => None,
        })
        .collect();
    assert_eq!(kinds, [("proc", 2), ("tmpfs", 3), ("devpts", 3), ("tmpfs", 2)]);
    assert!(plan.masked.is_empty() && plan.read_only.is_empty());
    assert!(plan.process.identity.bounding.is_empty());
}

#[test]
fn the_image_has_set_user_id_programs_only_where_privileges_can_be_gained() {
    let attributes = |no_new_privileges| {
        let security = Security { no_new_privileges, ..Security::default() };
        plan(&Bundle { security, ..bundle() }, &facts(RANGE)).root.attributes
    };
    assert_eq!(attributes(None), Attributes::NO_SUID.and(Attributes::NO_DEV));
    assert_eq!(attributes(Some(false)), Attributes::NO_DEV);
}

/// A device of root's on the host, which the container is given.
fn given(guest: &str) -> Given {
    Given {
        host: "/dev/fuse".into(),
        guest: guest.to_owned(),
        id: Id { block: false, major: 10, minor: 229 },
        mode: 0o600,
        owner: (0, 44),
        access: "rwm".parse().unwrap(),
    }
}

#[test]
fn a_given_device_belongs_to_whom_it_belongs_on_the_host() {
    let of = |ids| {
        let facts = Facts { given: vec![given("/dev/deep/fuse")], ..facts(ids) };
        let mut plan = plan(&bundle(), &facts);
        let dev = plan.mounts.iter().find(|mount| mount.becomes == Some(Anchor::Dev)).unwrap();
        let opens = !dev.attributes.contains(Attributes::NO_DEV);
        (plan.devices.pop().unwrap(), opens, dev.outside)
    };
    for (ids, first, outside) in [(HOST, 0, false), (RANGE, 1_000_000_000, true)] {
        let (device, opens, is_outside) = of(ids);
        assert_eq!(device.directory.as_deref(), Some(c"deep"));
        let Node::Made { user, group, .. } = device.node else { panic!("{device:?}") };
        assert_eq!((user, group), (first, first + 44));
        assert!(opens && is_outside == outside);
    }
    let (device, opens, _) = of(SINGLE);
    assert!(matches!(device.node, Node::Bound { .. }) && !opens, "{device:?}");
}

#[test]
fn a_device_elsewhere_is_the_hosts_node() {
    let facts = Facts { given: vec![given("/opt/fuse")], ..facts(RANGE) };
    let plan = plan(&bundle(), &facts);
    let mount = plan.late_mounts.last().unwrap();
    assert_eq!((mount.target.as_c_str(), mount.directory), (c"opt/fuse", false));
    assert_eq!(mount.attributes, BOUND);
}

#[test]
fn rules_about_devices_are_lines_of_version_1_or_a_program_of_version_2() {
    let limits = || Bundle { limits: Limits::default(), ..bundle() };
    let permitted = Some(DeviceList::of(RULES).unwrap());
    let mounts = vec![(Controller::Devices, "/cgroup/devices".into())];
    let legacy = Hierarchy::Legacy { mounts };
    let facts = Facts { permitted, cgroups: Some(legacy), ..facts(HOST) };
    let plan_of_1 = plan(&limits(), &facts);
    let [directory] = &plan_of_1.cgroups[..] else { panic!("{:?}", plan_of_1.cgroups) };
    assert_eq!(directory.path, Path::new("/cgroup/devices/silo/c0ffee"));
    assert_eq!(directory.settings.len(), RULES.len());
    let unified = Hierarchy::Unified { base: "/cgroup".into() };
    let plan_of_2 = plan(&limits(), &Facts { cgroups: Some(unified), ..facts });
    let [directory] = &plan_of_2.cgroups[..] else { panic!("{:?}", plan_of_2.cgroups) };
    assert!(directory.settings.is_empty() && directory.controllers.is_empty());
    assert_eq!(directory.device_program.last().unwrap().code, 0x95);
}

#[test]
fn who_is_root_of_a_namespace_hands_all_its_ids_on() {
    let extent = |inside, outside, count| Extent { inside, outside, count };
    let users = vec![extent(0, 1000, 1), extent(1, 100_000, 65_536)];
    let own_ids = OwnIds { groups: users[..1].to_vec(), users };
    let plan = plan(&bundle(), &Facts { own_ids, ..facts(IdSource::Nested) });
    let maps: Vec<_> = plan.id_maps.iter().map(|map| (map.file, map.content.as_str())).collect();
    assert_eq!(maps, [("uid_map", "0 0 1\n1 1 65536"), ("gid_map", "0 0 1")]);
    assert!(plan.root.user_attributes && plan.root.outside.is_none());
    assert_eq!(plan.process.identity.groups, Some(Vec::new()));
}
