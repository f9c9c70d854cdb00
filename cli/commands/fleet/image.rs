//! `edgectl fleet image`.

use std::path::PathBuf;

use serde::Serialize;

use super::command::solution;
use crate::commands::device::block_on_until_signal;
use crate::commands::interrupt::interruptible;
use crate::error::{CommandError, ErrorKind};
use crate::image::engine::load;
use crate::image::images;
use crate::image::oci::archive::Packed;
use crate::image::oci::document::Descriptor;
use crate::image::oci::store::Store;
use crate::image::output;
use crate::image::own;
use crate::image::registry::client::{Logins, Registry};
use crate::image::registry::push::push;
use crate::image::registry::reference::{InvalidReference, Reference};
use crate::output::printer::Report;
use crate::output::progress::Transfer;
use crate::output::style::Style;
use crate::settings::Context;
use crate::solution::solution::Solution;

/// The name of the image where it is given none. Nodes look for a name at its registry first, and at this one nobody is.
const NAME: &str = "localhost/edgectl-fleet";
/// Digits of the digest that make its tag.
const TAG_DIGITS: usize = 16;

/// Make an image of this program, for the nodes of a swarm to run shards of a fleet
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("place").required(true).multiple(false))]
pub struct Args {
    /// Send it to a registry under this name
    #[arg(long, value_name = "IMAGE", group = "place")]
    push: Option<String>,
    /// Load it into the container engine
    #[arg(long, group = "place")]
    load: bool,
    /// Write it to a file that engines load
    #[arg(short, long, value_name = "FILE", group = "place")]
    output: Option<PathBuf>,
}

#[derive(Serialize)]
struct Made {
    image: String,
    digest: String,
}

impl Report for Made {
    fn text(&self, style: Style) -> String {
        let next = format!("edgectl fleet up --devices 1000 --engine swarm --image {}", self.image);
        format!("{}\nNext: {}\n", self.image, style.cyan(&next))
    }
}

/// Makes it.
pub fn run(args: &Args, context: &Context) -> Result<(), CommandError> {
    let solution = solution(context)?;
    let (store, manifest) = make(&solution, context)?;
    let digest = manifest.digest.to_string();
    let image = match (&args.push, &args.output) {
        (Some(name), _) => send(name, &store, &manifest, context)?,
        (None, Some(file)) => {
            let packed = packed(&manifest);
            output::archive(&store, std::slice::from_ref(&packed), &context.settings.directory.join(file))?;
            packed.names.concat()
        }
        (None, None) => load_into_engine(&store, &manifest, context)?,
    };
    context.printer.result(&Made { image, digest });
    Ok(())
}

/// Makes it and loads it into the engine. Returns its name there.
pub(super) fn load(solution: &Solution, context: &Context) -> Result<String, CommandError> {
    let (store, manifest) = make(solution, context)?;
    load_into_engine(&store, &manifest, context)
}

fn make(solution: &Solution, context: &Context) -> Result<(Store, Descriptor), CommandError> {
    let store = images::store(solution);
    let manifest = own::make(&store, &context.settings.program)?;
    Ok((store, manifest))
}

fn packed(manifest: &Descriptor) -> Packed {
    let digits = &manifest.digest.hexadecimal()[..TAG_DIGITS];
    Packed { names: vec![format!("{NAME}:{digits}")], manifest: manifest.clone() }
}

fn load_into_engine(store: &Store, manifest: &Descriptor, context: &Context) -> Result<String, CommandError> {
    let packed = packed(manifest);
    let host = context.settings.engine_host.as_deref();
    interruptible(|| load::load(host, store, std::slice::from_ref(&packed)))??;
    Ok(packed.names.concat())
}

/// Sends it. Returns the name with the digest.
fn send(name: &str, store: &Store, manifest: &Descriptor, context: &Context) -> Result<String, CommandError> {
    let reference: Reference =
        name.parse().map_err(|error: InvalidReference| CommandError::new(ErrorKind::Usage, error.to_string()))?;
    let logins = Logins { settings: context.settings.engine_config.clone(), manifest: Vec::new() };
    let transfer = Transfer::new(&context.printer, name, "pushing");
    let sent = block_on_until_signal(async {
        let registry = Registry::of(&reference, &logins).await?;
        Ok(push(&registry, store, manifest, &reference, &transfer).await?)
    })?;
    transfer.end();
    context.printer.note(&sent.told());
    Ok(format!("{}/{}@{}", reference.registry, reference.repository, sent.digest))
}
