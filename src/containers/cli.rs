//! The command line of incron-containers: words in, one typed [`Command`] out.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

#[derive(Debug, Parser)]
#[command(
    name = "incron-containers",
    version,
    disable_version_flag = true,
    about = "Finds running containers for incrond, and logs what changes in them.",
    disable_help_subcommand = true,
    after_help = "See incron-containers(8)."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print the version
    #[arg(short = 'V', long, action = ArgAction::Version)]
    version: Option<bool>,
}

/// The one thing to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print containers that come and go, as incron-provider(7) describes
    Provide(ProvideArgs),
    /// Show the running containers and what is watched of them
    List(ListArgs),
    /// Log what changes in containers: events, as a stream command reads them
    Log(super::log::LogArgs),
}

/// Of `provide`.
#[derive(Debug, Args)]
pub struct ProvideArgs {
    #[command(flatten)]
    pub which: Which,
}

/// Of `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    pub which: Which,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
    /// Stay, and show what starts and ends
    #[arg(long)]
    pub follow: bool,
}

/// Which containers are meant, and where else they may be.
#[derive(Clone, Debug, Default, Args)]
pub struct Which {
    /// Only these engines
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub engine: Vec<Engine>,
    /// What is watched: the upper layers, or the root of each container's first process
    #[arg(long, value_enum, value_name = "WHAT", default_value_t)]
    pub watch: Watch,
    /// Also containers of podman and CRI-O that do not run
    #[arg(long)]
    pub stopped: bool,
    /// Also those in which buildah builds an image
    #[arg(long)]
    pub builds: bool,
    /// With these two: a storage directory (podman's --root)
    #[arg(long, value_name = "DIR")]
    pub podman_root: Vec<PathBuf>,
    /// A run directory of podman or CRI-O (their --runroot)
    #[arg(long, value_name = "DIR")]
    pub podman_run: Vec<PathBuf>,
    /// A run directory of docker (dockerd --exec-root)
    #[arg(long, value_name = "DIR")]
    pub docker_run: Vec<PathBuf>,
    /// A state directory of containerd (containerd --state)
    #[arg(long, value_name = "DIR")]
    pub containerd_run: Vec<PathBuf>,
}

impl Which {
    /// Whether this engine is asked for.
    pub fn wants(&self, engine: Engine) -> bool {
        self.engine.is_empty() || self.engine.contains(&engine)
    }
}

impl Engine {
    /// As it is written everywhere.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Podman => "podman",
            Engine::Docker => "docker",
            Engine::Containerd => "containerd",
            Engine::Crio => "crio",
        }
    }
}

/// Whose container it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)] // their names
pub enum Engine {
    Podman,
    Docker,
    Containerd,
    Crio,
}

/// What is watched of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Watch {
    /// The layers, where the kernel reports writes there; else the roots
    #[default]
    Auto,
    /// The upper layers
    Layer,
    /// The roots, through /proc
    Root,
}

/// Parses a command line, program name included.
///
/// # Errors
/// clap's: a usage error (exit code 2), or the text of `--help` and `--version`,
/// which go to standard output (exit code 0).
pub fn parse<I, T>(args: I) -> Result<Command, clap::Error>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    Ok(Cli::try_parse_from(args)?.command)
}
