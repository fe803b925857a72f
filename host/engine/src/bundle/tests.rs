use silo_layers::Digest;

use super::*;

fn config(json: &str) -> Config {
    serde_json::from_str(json).unwrap()
}

fn merged(config_json: &str, entrypoint: Option<&str>, args: &[&str]) -> Vec<String> {
    let options = CreateOptions {
        entrypoint: entrypoint.map(str::to_owned),
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        ..CreateOptions::default()
    };
    let (entrypoint, cmd) = arguments(&config(config_json), &options);
    [entrypoint, cmd].concat()
}

#[test]
fn entrypoint_and_command_merge_as_in_docker() {
    const BOTH: &str = r#"{"Entrypoint":["/e","x"],"Cmd":["c","d"]}"#;
    assert_eq!(merged(BOTH, None, &[]), ["/e", "x", "c", "d"]);
    assert_eq!(merged(BOTH, None, &["a"]), ["/e", "x", "a"]);
    assert_eq!(merged(BOTH, Some("/n"), &[]), ["/n"]);
    assert_eq!(merged(BOTH, Some("/n"), &["a"]), ["/n", "a"]);
    assert_eq!(merged(BOTH, Some(""), &["a"]), ["a"]);
    assert!(merged(BOTH, Some(""), &[]).is_empty());
    assert_eq!(merged(r#"{"Cmd":["c"]}"#, None, &[]), ["c"]);
    assert!(merged("{}", None, &[]).is_empty());
}

#[test]
fn later_variables_win_and_a_bare_name_removes() {
    let pairs = ["A=1".to_owned(), "B=2".to_owned(), "A=3".to_owned()];
    let mut env = Environment::new(&pairs);
    env.default("B=9");
    env.default("C=4=5");
    env.set("B");
    env.set("ABSENT");
    assert_eq!(env.into_pairs(), ["A=3", "C=4=5"]);
}

#[test]
fn paths_inside_the_guest_are_absolute_and_plain() {
    assert_eq!(guest_path("-w", "/a/./b//../c/").unwrap(), "/a/c");
    assert_eq!(guest_path("-w", "/../..").unwrap(), "/");
    assert!(guest_path("-w", "a/b").is_err());
}

fn bundle(options: &CreateOptions, platform: &str, config: &str) -> Result<Bundle> {
    let root = tempfile::tempdir().unwrap();
    let snapshot = Snapshot {
        lowers: vec![],
        upper: root.path().join("upper"),
        work: root.path().join("work"),
    };
    std::fs::create_dir(&snapshot.upper).unwrap();
    std::fs::create_dir(&snapshot.work).unwrap();
    let platform: Platform = platform.parse().unwrap();
    let accounts = Accounts::of(&snapshot)?;
    let config: Config = serde_json::from_str(config).unwrap();
    let process = process(&platform, &config, options, "box", &accounts)?;
    let bundle = Bundle {
        id: Digest::from_bytes([1; 32]).hex(),
        platform,
        root: Root { snapshot, readonly: false, volatile: false },
        process,
        hostname: options.hostname.clone().unwrap_or_else(|| "box".to_owned()),
        mounts: options.mounts.iter().map(mount).collect::<Result<_>>()?,
        network: options.network,
        access: silo_isolation::NetworkAccess::default(),
        components: Vec::new(),
        security: options.security.clone(),
        limits: options.limits.clone(),
        sysctls: options.sysctls.clone(),
        init: options.init,
        state_dir: "/s".into(),
    };
    validate(&bundle)?;
    Ok(bundle)
}

fn run(args: &[&str]) -> CreateOptions {
    let args = args.iter().map(|&arg| arg.to_owned()).collect();
    CreateOptions { args, terminal: true, ..CreateOptions::default() }
}

#[test]
fn a_linux_image_gets_the_variables_that_programs_expect() {
    let config = r#"{"Env":["A=1"],"WorkingDir":"/srv","User":"5:6"}"#;
    let process = bundle(&run(&["x"]), "linux/amd64", config).unwrap().process;
    assert_eq!(
        process.env,
        ["A=1", &format!("PATH={DEFAULT_PATH}"), "HOSTNAME=box", "TERM=xterm", "HOME=/"]
    );
    assert_eq!(process.cwd, "/srv");
    let user = process.user.unwrap();
    assert_eq!((user.uid, user.gid), (5, 6));
}

#[test]
fn a_wasm_image_gets_what_it_asks_for_and_no_user() {
    let process = bundle(&run(&["x"]), "wasi/wasm", r#"{"Env":["A=1"],"User":"web"}"#);
    let process = process.unwrap().process;
    assert_eq!(process.env, ["A=1"]);
    assert_eq!(process.user, None);
    let options = CreateOptions { user: Some("7".to_owned()), ..run(&["x"]) };
    assert_eq!(bundle(&options, "wasi/wasm", "{}").unwrap().process.user.unwrap().uid, 7);
}

#[test]
fn what_no_backend_could_honour_is_refused() {
    let refused = |options: &CreateOptions| bundle(options, "linux/amd64", "{}").unwrap_err();
    let tmpfs = |text| crate::options::tmpfs(text).unwrap();
    assert!(matches!(refused(&run(&[])), Error::NoCommand { .. }));
    for options in [
        run(&[""]),
        run(&["x", "a\0b"]),
        CreateOptions { env: vec!["=x".to_owned()], ..run(&["x"]) },
        CreateOptions { workdir: Some("rel".to_owned()), ..run(&["x"]) },
        CreateOptions { hostname: Some("a b".to_owned()), ..run(&["x"]) },
        CreateOptions { user: Some("nobody".to_owned()), ..run(&["x"]) },
        CreateOptions { mounts: vec![tmpfs("/")], ..run(&["x"]) },
        CreateOptions { mounts: vec![tmpfs("/a"), tmpfs("/b/../a")], ..run(&["x"]) },
    ] {
        let error = refused(&options);
        assert!(matches!(error, Error::Invalid { .. }), "{error}");
    }
}
