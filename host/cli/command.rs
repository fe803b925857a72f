//! The command line: every verb with Docker's spellings.

use std::{env, path::PathBuf, process::ExitCode};

use clap::{CommandFactory as _, Parser, Subcommand};

#[cfg(target_os = "linux")]
use crate::runtime::RuntimeArgs;
use crate::{
    context::Context,
    failure::Result,
    misuse,
    verbs::{self, supervise::Supervise},
};

/// Runs container images: Linux programs in namespaces, WebAssembly programs in wasmtime.
#[derive(Debug, Parser)]
#[command(name = "silo", version, about, max_term_width = 100, infer_subcommands = false)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
struct CommandLine<V: Subcommand> {
    #[arg(long, value_name = "DIR", global = true)]
    #[arg(help = "Keep images and containers in DIR [env: SILO_ROOT]")]
    root: Option<PathBuf>,
    #[command(subcommand)]
    verb: V,
}

type Cli = CommandLine<Verb>;

/// The verbs that programs wait for. The definition of all takes longer to build than that of
/// these, and their start.
#[derive(Debug, Subcommand)]
enum Frequent {
    Run(Box<verbs::run::Run>),
    Exec(verbs::exec::Exec),
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(verbs::run::Run),
    Create(verbs::create::Create),
    Start(verbs::start::Start),
    Attach(verbs::attach::Attach),
    Ps(verbs::ps::Ps),
    Logs(verbs::logs::Logs),
    Stats(verbs::stats::Stats),
    Top(verbs::top::Top),
    Port(verbs::port::Port),
    Wait(verbs::wait::Wait),
    Stop(verbs::stop::Stop),
    Restart(verbs::restart::Restart),
    Kill(verbs::kill::Kill),
    Pause(verbs::pause::Pause),
    Unpause(verbs::unpause::Unpause),
    Rename(verbs::rename::Rename),
    Rm(verbs::rm::Rm),
    Update(verbs::update::Update),
    Exec(verbs::exec::Exec),
    Cp(verbs::cp::Cp),
    Diff(verbs::diff::Diff),
    Commit(verbs::commit::Commit),
    Export(verbs::export::Export),
    Build(verbs::build::Build),
    Pull(verbs::pull::Pull),
    Push(verbs::push::Push),
    Login(verbs::login::Login),
    Logout(verbs::logout::Logout),
    Images(verbs::images::Images),
    History(verbs::history::History),
    Rmi(verbs::rmi::Rmi),
    Tag(verbs::tag::Tag),
    Load(verbs::load::Load),
    Save(verbs::save::Save),
    Import(verbs::import::Import),
    Inspect(verbs::inspect::Inspect),
    /// Work with containers: the verbs above by Docker's longer names, and more
    #[command(subcommand)]
    Container(Container),
    /// Work with images: the verbs above by Docker's longer names, and more
    #[command(subcommand)]
    Image(Image),
    /// Work with indexes: one name for several platforms
    #[command(subcommand)]
    Manifest(Manifest),
    /// Work with WebAssembly programs
    #[command(subcommand)]
    Wasm(Wasm),
    /// Look after the store
    #[command(subcommand)]
    System(System),
    Version(verbs::version::Version),
    Info(verbs::info::Info),
    #[cfg(target_os = "linux")]
    Runtime(Box<RuntimeArgs>),
    Completion(verbs::completion::Completion),
    Man(verbs::man::Man),
}

#[derive(Debug, Subcommand)]
enum Container {
    Run(verbs::run::Run),
    Create(verbs::create::Create),
    Start(verbs::start::Start),
    Attach(verbs::attach::Attach),
    #[command(visible_aliases = ["list", "ps"])]
    Ls(verbs::ps::Ps),
    Logs(verbs::logs::Logs),
    Stats(verbs::stats::Stats),
    Top(verbs::top::Top),
    Port(verbs::port::Port),
    Wait(verbs::wait::Wait),
    Stop(verbs::stop::Stop),
    Restart(verbs::restart::Restart),
    Kill(verbs::kill::Kill),
    Pause(verbs::pause::Pause),
    Unpause(verbs::unpause::Unpause),
    Rename(verbs::rename::Rename),
    #[command(visible_alias = "remove")]
    Rm(verbs::rm::Rm),
    Update(verbs::update::Update),
    Exec(verbs::exec::Exec),
    Cp(verbs::cp::Cp),
    Diff(verbs::diff::Diff),
    Commit(verbs::commit::Commit),
    Export(verbs::export::Export),
    Prune(verbs::prune::PruneContainers),
    Inspect(verbs::inspect::InspectContainer),
}

#[derive(Debug, Subcommand)]
enum Image {
    Build(verbs::build::Build),
    #[command(visible_alias = "list")]
    Ls(verbs::images::Images),
    Pull(verbs::pull::Pull),
    Push(verbs::push::Push),
    #[command(visible_alias = "remove")]
    Rm(verbs::rmi::Rmi),
    Tag(verbs::tag::Tag),
    History(verbs::history::History),
    Load(verbs::load::Load),
    Save(verbs::save::Save),
    Import(verbs::import::Import),
    Diff(verbs::image::diff::Diff),
    Tree(verbs::image::tree::Tree),
    Squash(verbs::image::squash::Squash),
    Prune(verbs::prune::PruneImages),
    Inspect(verbs::inspect::InspectImage),
}

#[derive(Debug, Subcommand)]
enum Manifest {
    Create(verbs::manifest::Create),
}

#[derive(Debug, Subcommand)]
enum Wasm {
    Compile(verbs::wasm::compile::Compile),
    Inspect(verbs::wasm::inspect::Inspect),
}

#[derive(Debug, Subcommand)]
enum System {
    Check(verbs::system_check::Check),
    Df(verbs::system_df::Df),
    Prune(verbs::prune::PruneSystem),
    Info(verbs::info::Info),
}

/// Reads the command line and does what it says.
pub(crate) fn main() -> ExitCode {
    if let Some(supervise) = Supervise::from_args() {
        return supervise.run();
    }
    #[cfg(target_os = "linux")]
    if let Some(code) = crate::runtime::from_args() {
        return code;
    }
    let cli = match Cli::parse_frequent().map_or_else(Cli::try_parse, Ok) {
        Ok(cli) => cli,
        Err(error) => return misuse::report(&error),
    };
    let done = Context::new(cli.root).and_then(|context| cli.verb.run(&context));
    done.unwrap_or_else(|failure| failure.report())
}

impl Cli {
    /// Reads the command line of a frequent verb; `None` for others, and for what all verbs' own
    /// definition is to find wrong with it.
    fn parse_frequent() -> Option<Self> {
        let is_frequent = |arg| arg == "run" || arg == "exec";
        env::args_os().any(is_frequent).then_some(())?;
        let CommandLine { root, verb } = CommandLine::<Frequent>::try_parse().ok()?;
        let verb = match verb {
            Frequent::Run(run) => Verb::Run(*run),
            Frequent::Exec(exec) => Verb::Exec(exec),
        };
        Some(Self { root, verb })
    }
}

/// The definition that completions, man pages and the reference are made from.
pub(crate) fn definition() -> clap::Command {
    Cli::command()
}

/// Verbs that run no program fail with 1, whatever it was that failed, unless a signal ended them.
fn plainly(done: Result<ExitCode>) -> Result<ExitCode> {
    done.map_err(|failure| if failure.code() > 128 { failure } else { failure.with_code(1) })
}

impl Verb {
    fn run(self, context: &Context) -> Result<ExitCode> {
        match self {
            Self::Run(verb) => verb.run(context),
            Self::Exec(verb) => verb.run(context),
            Self::Create(verb) => plainly(verb.run(context)),
            Self::Start(verb) => plainly(verb.run(context)),
            Self::Attach(verb) => plainly(verb.run(context)),
            Self::Ps(verb) => plainly(verb.run(context)),
            Self::Top(verb) => plainly(verb.run(context)),
            Self::Port(verb) => plainly(verb.run(context)),
            Self::Stats(verb) => plainly(verb.run(context)),
            Self::Logs(verb) => plainly(verb.run(context)),
            Self::Wait(verb) => plainly(verb.run(context)),
            Self::Stop(verb) => plainly(verb.run(context)),
            Self::Restart(verb) => plainly(verb.run(context)),
            Self::Kill(verb) => plainly(verb.run(context)),
            Self::Pause(verb) => plainly(verb.run(context)),
            Self::Unpause(verb) => plainly(verb.run(context)),
            Self::Rename(verb) => plainly(verb.run(context)),
            Self::Rm(verb) => plainly(verb.run(context)),
            Self::Update(verb) => plainly(verb.run(context)),
            Self::Cp(verb) => plainly(verb.run(context)),
            Self::Diff(verb) => plainly(verb.run(context)),
            Self::Commit(verb) => plainly(verb.run(context)),
            Self::Export(verb) => plainly(verb.run(context)),
            Self::Build(verb) => plainly(verb.run(context)),
            Self::Pull(verb) => plainly(verb.run(context)),
            Self::Push(verb) => plainly(verb.run(context)),
            Self::Login(verb) => plainly(verb.run(context)),
            Self::Logout(verb) => plainly(verb.run(context)),
            Self::Images(verb) => plainly(verb.run(context)),
            Self::History(verb) => plainly(verb.run(context)),
            Self::Save(verb) => plainly(verb.run(context)),
            Self::Rmi(verb) => plainly(verb.run(context)),
            Self::Tag(verb) => plainly(verb.run(context)),
            Self::Load(verb) => plainly(verb.run(context)),
            Self::Import(verb) => plainly(verb.run(context)),
            Self::Inspect(verb) => plainly(verb.run(context)),
            Self::Container(verb) => verb.run(context),
            Self::Image(verb) => verb.run(context),
            Self::Manifest(Manifest::Create(verb)) => plainly(verb.run(context)),
            Self::Wasm(Wasm::Compile(verb)) => plainly(verb.run(context)),
            Self::Wasm(Wasm::Inspect(verb)) => plainly(verb.run(context)),
            Self::System(System::Check(verb)) => plainly(verb.run(context)),
            Self::System(System::Df(verb)) => plainly(verb.run(context)),
            Self::System(System::Prune(verb)) => plainly(verb.run(context)),
            Self::System(System::Info(verb)) | Self::Info(verb) => plainly(verb.run(context)),
            Self::Version(verb) => plainly(verb.run(context)),
            #[cfg(target_os = "linux")]
            Self::Runtime(verb) => Ok(verb.run()),
            Self::Completion(verb) => plainly(verb.run()),
            Self::Man(verb) => plainly(verb.run()),
        }
    }
}

impl Container {
    fn run(self, context: &Context) -> Result<ExitCode> {
        let verb = match self {
            Self::Prune(verb) => return plainly(verb.run(context)),
            Self::Run(verb) => Verb::Run(verb),
            Self::Create(verb) => Verb::Create(verb),
            Self::Start(verb) => Verb::Start(verb),
            Self::Attach(verb) => Verb::Attach(verb),
            Self::Ls(verb) => Verb::Ps(verb),
            Self::Top(verb) => Verb::Top(verb),
            Self::Port(verb) => Verb::Port(verb),
            Self::Stats(verb) => Verb::Stats(verb),
            Self::Logs(verb) => Verb::Logs(verb),
            Self::Wait(verb) => Verb::Wait(verb),
            Self::Stop(verb) => Verb::Stop(verb),
            Self::Restart(verb) => Verb::Restart(verb),
            Self::Kill(verb) => Verb::Kill(verb),
            Self::Pause(verb) => Verb::Pause(verb),
            Self::Unpause(verb) => Verb::Unpause(verb),
            Self::Rename(verb) => Verb::Rename(verb),
            Self::Rm(verb) => Verb::Rm(verb),
            Self::Update(verb) => Verb::Update(verb),
            Self::Exec(verb) => Verb::Exec(verb),
            Self::Cp(verb) => Verb::Cp(verb),
            Self::Diff(verb) => Verb::Diff(verb),
            Self::Commit(verb) => Verb::Commit(verb),
            Self::Export(verb) => Verb::Export(verb),
            Self::Inspect(verb) => Verb::Inspect(verb.into()),
        };
        verb.run(context)
    }
}

impl Image {
    fn run(self, context: &Context) -> Result<ExitCode> {
        let verb = match self {
            Self::Diff(verb) => return plainly(verb.run(context)),
            Self::Tree(verb) => return plainly(verb.run(context)),
            Self::Squash(verb) => return plainly(verb.run(context)),
            Self::Prune(verb) => return plainly(verb.run(context)),
            Self::Build(verb) => Verb::Build(verb),
            Self::Ls(verb) => Verb::Images(verb),
            Self::Pull(verb) => Verb::Pull(verb),
            Self::Push(verb) => Verb::Push(verb),
            Self::Rm(verb) => Verb::Rmi(verb),
            Self::Tag(verb) => Verb::Tag(verb),
            Self::History(verb) => Verb::History(verb),
            Self::Load(verb) => Verb::Load(verb),
            Self::Save(verb) => Verb::Save(verb),
            Self::Import(verb) => Verb::Import(verb),
            Self::Inspect(verb) => Verb::Inspect(verb.into()),
        };
        verb.run(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_free_of_contradictions() {
        definition().debug_assert();
    }

    #[test]
    fn help_of_every_verb_is_as_recorded() {
        // The verbs below these are the same, by longer names.
        const LONGER_NAMES: [&str; 2] = ["container", "image"];
        fn record(path: &str, command: &mut clap::Command) {
            insta::with_settings!({ omit_expression => true, snapshot_path => "snapshots/help", prepend_module_to_snapshot => false }, {
                insta::assert_snapshot!(path.replace(' ', "-"), command.render_long_help());
            });
            if LONGER_NAMES.contains(&command.get_name()) {
                return;
            }
            for verb in command.get_subcommands_mut().filter(|verb| !verb.is_hide_set()) {
                record(&format!("{path} {}", verb.get_name()), verb);
            }
        }
        let mut command = definition().term_width(100);
        command.build();
        record("silo", &mut command);
    }

    #[test]
    fn flags_end_at_the_image() {
        let cli =
            Cli::try_parse_from(["silo", "run", "-it", "--rm", "x", "-e", "--rm", "--", "-c"]);
        let Ok(Cli { verb: Verb::Run(run), .. }) = cli else { panic!("{cli:?}") };
        assert_eq!(run.container.command, ["x", "-e", "--rm", "--", "-c"]);
    }
}
