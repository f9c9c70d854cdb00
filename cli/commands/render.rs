//! `edgectl render`.

use std::path::PathBuf;

use edgectl_schemas::diagnostic::Severity;
use serde::Serialize;

use crate::error::{CommandError, ErrorKind};
use crate::image::pin::Pins;
use crate::image::plan;
use crate::output::diagnostics;
use crate::output::printer::Report;
use crate::output::style::Style;
use crate::settings::Context;
use crate::solution::render::{RenderError, RenderOptions, render};
use crate::solution::solution::Solution;

const EXAMPLES: &str = "\
Examples:
  edgectl render                                        the solution's template, into config/
  edgectl render deployment.gpu.template.json --platform arm64v8
  edgectl render -o - | jq .modulesContent              on standard output

In a solution made by iotedgedev the manifest is the one that tool writes, byte for byte.
Exit status 3 if a variable is not set or a placeholder names no module; --compat accepts that.";

/// Write the manifest that a deployment template stands for
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub struct Args {
    /// The deployment template [default: the solution's]
    template: Option<PathBuf>,
    /// The platform whose images are used [default: `DEFAULT_PLATFORM`, else amd64]
    #[arg(short = 'P', long)]
    platform: Option<String>,
    /// Where to write the manifest; `-` is standard output [default: in config/]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Name the images that are built here by their digests
    #[arg(long)]
    pin: bool,
    /// Accept silently what iotedgedev accepts
    #[arg(long)]
    compat: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RenderReport {
    output: Option<PathBuf>,
    platform: String,
    images: Vec<Image>,
    diagnostics: Vec<serde_json::Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Image {
    reference: String,
    platform: String,
    modules: Vec<String>,
    directory: PathBuf,
    dockerfile: PathBuf,
}

impl Report for RenderReport {
    fn text(&self, _style: Style) -> String {
        self.output.as_ref().map_or_else(String::new, |output| format!("{}\n", output.display()))
    }
}

/// Renders, writes, and says where.
pub fn run(args: Args, context: &Context) -> Result<(), CommandError> {
    let directory = &context.settings.directory;
    let solution = match &args.template {
        Some(template) => Solution::of_template(directory, template)?,
        None => Solution::find(directory)?,
    };
    let options = RenderOptions {
        platform: args.platform.as_deref(),
        compat: args.compat,
        environment: &context.settings.environment,
    };
    let mut rendered = match render(&solution, options) {
        Ok(rendered) => rendered,
        Err(RenderError::Unreadable(findings)) if !context.printer.json => {
            diagnostics::show(&context.printer, &[*findings]);
            return Err(CommandError::shown(ErrorKind::Findings));
        }
        Err(error) => return Err(error.into()),
    };
    if args.pin {
        let pins = Pins::of(&solution, &plan::of_images(rendered.images.clone()))?;
        rendered.text = pins.apply_to_text(&rendered.text);
    }
    let to_standard_output = args.output.as_deref().is_some_and(|path| path.as_os_str() == "-");
    let output = (!to_standard_output).then(|| args.output.map_or(rendered.output, |path| directory.join(path)));
    if let Some(path) = &output {
        crate::output::file::write_atomically(path, rendered.text.as_bytes())
            .map_err(|error| CommandError::failed(format!("{}: {error}", path.display())))?;
    }
    if to_standard_output {
        context.printer.raw(rendered.text.as_bytes());
    } else {
        let images = rendered.images.into_iter().map(|image| Image {
            reference: image.image,
            platform: image.platform,
            modules: image.modules,
            directory: image.directory,
            dockerfile: image.dockerfile,
        });
        context.printer.result(&RenderReport {
            output: output.map(|path| path.strip_prefix(directory).map(PathBuf::from).unwrap_or(path)),
            platform: rendered.platform,
            images: images.collect(),
            diagnostics: diagnostics::json(&rendered.findings),
        });
    }
    if !context.printer.json || to_standard_output {
        diagnostics::show(&context.printer, &rendered.findings);
    }
    if rendered.findings.iter().any(|findings| findings.count(Severity::Error) > 0) {
        return Err(CommandError::shown(ErrorKind::Findings));
    }
    Ok(())
}
