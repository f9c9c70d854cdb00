//! Building images, several at once, without doing anything twice.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::commands::device::Signals;
use crate::image::at_once::at_once;
use crate::image::content::content::{self, Content, Job, Package, Part};
use crate::image::content::{node, python, stage};
use crate::image::error::ImageError;
use crate::image::inputs::{Inputs, stamp};
use crate::image::kind::ModuleKind;
use crate::image::oci::base::{self, Base, Origin};
use crate::image::oci::config;
use crate::image::oci::digest::Digest;
use crate::image::oci::document::{CONFIG, Descriptor, INDEX, Index, MANIFEST, Manifest};
use crate::image::oci::layer::{self, Layer, Packing};
use crate::image::oci::layout;
use crate::image::oci::store::Store;
use crate::image::oci::sweep;
use crate::image::plan::{self, PlannedModule};
use crate::image::platform::Platform;
use crate::image::registry::client::{Logins, RegistryError, log_in_hint};
use crate::image::registry::pull::pull;
use crate::image::registry::reference::{InvalidReference, Reference};
use crate::image::revision::{self, Revision};
use crate::image::sbom::{self, Subject};
use crate::image::{tool, workspace};
use crate::output::file::write_atomically;
use crate::output::progress::{Line, Progress, Transfer};
use crate::settings::Context;
use crate::solution::module_json::Builder;
use crate::solution::solution::Solution;

/// Raised when the same inputs are made into other images.
const FORMAT: &str = "2";
/// The layout with all images of a solution, in its state.
const LAYOUT: &str = "oci";
/// The folder in it with the layers that were made from something that is known.
const LAYERS: &str = "layers";
/// What in the environment changes what compilers do.
const FLAGS: [&str; 5] = ["RUSTFLAGS", "CFLAGS", "LDFLAGS", "GOFLAGS", "SOURCE_DATE_EPOCH"];

/// What builds write among sources.
const LOCKS: [&str; 3] = ["Cargo.lock", "go.sum", "package-lock.json"];

/// How images are built.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Base images are looked up anew.
    pub pull: bool,
    /// Everything is built, whether anything changed or not.
    pub rebuild: bool,
    /// What is in the store is about to be handed on, so all of it is checked.
    pub check: bool,
}

/// An image in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Its manifest, with the platform.
    pub manifest: Descriptor,
    /// Its bill of materials: the manifest that refers to it, and the file beside.
    pub bill: Option<(Descriptor, PathBuf)>,
    /// All of its layers in bytes, as they are sent.
    pub size: u64,
    /// How many of its layers are its own.
    pub own_layers: usize,
}

/// How the build of an image went.
#[derive(Debug)]
pub struct Outcome {
    /// The module.
    pub module: PlannedModule,
    /// The image, or why there is none.
    pub result: Result<Image, ImageError>,
    /// Why it was built; nothing, if it was there.
    pub reasons: Vec<String>,
    /// How long it took.
    pub duration: Duration,
}

/// What is kept of an image that was built.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record {
    /// What it was made from.
    pub inputs: Inputs,
    /// Programs that made it.
    pub tools: Vec<PathBuf>,
    /// Files outside the module's directory.
    pub outside: Vec<PathBuf>,
    /// The image.
    pub image: Image,
}

/// The store with a solution's images.
pub fn store(solution: &Solution) -> Store {
    Store::new(&solution.state().join(LAYOUT))
}

/// Builds images without a container engine.
pub fn build(context: &Context, solution: &Solution, modules: &[PlannedModule], options: Options) -> Vec<Outcome> {
    let several = modules.iter().any(|module| module.platform != modules[0].platform);
    let name = |module: &PlannedModule| {
        if several { format!("{} {}", module.name(), module.platform) } else { module.name().to_owned() }
    };
    let names: Vec<String> = modules.iter().map(name).collect();
    let progress = Progress::new(&context.printer, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let site = Site { context, solution, store: store(solution), options };
    at_once(modules, |module| {
        let started = Instant::now();
        let line = progress.start(&name(module), "building");
        let mut reasons = Vec::new();
        let result = site.build(module, &line, &mut reasons);
        let (duration, seconds) = (started.elapsed(), started.elapsed().as_secs_f64());
        line.finish(&match &result {
            Ok(_) if reasons.is_empty() => "nothing to do".to_owned(),
            Ok(image) => format!("built in {seconds:.1} s, {}", image.manifest.digest),
            Err(error) => format!("failed after {seconds:.1} s: {error}"),
        });
        Outcome { module: module.clone(), result, reasons, duration }
    })
}

/// Takes out of a solution's store what no image, base or kept layer names.
pub fn sweep(store: &Store) -> Result<u64, ImageError> {
    let mut kept = base::content(store);
    for entry in fs::read_dir(store.root().join(LAYERS)).into_iter().flatten().flatten() {
        let layer = fs::read(entry.path()).ok().and_then(|bytes| serde_json::from_slice::<Layer>(&bytes).ok());
        kept.extend(layer.map(|layer| layer.descriptor));
    }
    sweep::sweep(store, &kept, SystemTime::now())
}

/// Where images are built.
pub struct Site<'a> {
    /// Settings and printer.
    pub context: &'a Context,
    /// What is built.
    pub solution: &'a Solution,
    /// Where images are kept.
    pub store: Store,
    options: Options,
}

impl Site<'_> {
    /// Who the user is at registries.
    pub fn logins(&self, module: &PlannedModule) -> Logins {
        Logins {
            settings: self.context.settings.engine_config.clone(),
            manifest: plan::credentials(self.solution, self.context, &module.platform),
        }
    }

    fn build(&self, module: &PlannedModule, line: &Line<'_>, reasons: &mut Vec<String>) -> Result<Image, ImageError> {
        match module.builder() {
            Builder::Own => self.build_own(module, line, reasons),
            Builder::Dockerfile => self.build_with_engine(module, line, reasons),
        }
    }

    /// What is kept of a build before, if nothing changed since; else why it cannot be used.
    pub fn unchanged(&self, known: Option<Record>, inputs: &Inputs, reasons: &mut Vec<String>) -> Option<Image> {
        *reasons = match &known {
            _ if self.options.rebuild => vec!["it was asked for".to_owned()],
            None => vec!["it was not built before".to_owned()],
            Some(known) => inputs.changes_since(&known.inputs, &self.solution.root),
        };
        let known = known.filter(|_| reasons.is_empty())?;
        if self.is_whole(&known.image) {
            return Some(known.image);
        }
        *reasons = vec!["what was built before is damaged or gone".to_owned()];
        None
    }

    fn build_own(
        &self,
        module: &PlannedModule,
        line: &Line<'_>,
        reasons: &mut Vec<String>,
    ) -> Result<Image, ImageError> {
        let platform = platform_of(module)?;
        let base = self.base(module, &platform, line)?;
        let known = self.record(module);
        let revision = revision::find(&module.directory);
        let mut inputs = self.inputs(module, &platform, base.as_ref(), revision.as_ref(), known.as_ref())?;
        if let Some(image) = self.unchanged(known, &inputs, reasons) {
            return Ok(image);
        }
        let workspace = self.workspace(module)?;
        let job = Job {
            module,
            root: &self.solution.root,
            workspace: &workspace,
            platform: &platform,
            base: base.as_ref(),
            whole: base.is_none(),
            environment: &self.context.settings.environment,
            line,
        };
        let content = content::make(job)?;
        let tools = content.tools.clone();
        let outside = content.outside.clone();
        let locks = LOCKS.iter().map(|name| module.directory.join(name));
        inputs.add(outside.iter().cloned().chain(locks).filter(|path| path.exists()))?;
        add_tools(&mut inputs, &tools);
        line.update("writing the image");
        let image = self.assemble(module, &platform, base.as_ref(), revision.as_ref(), content)?;
        self.keep(module, &Record { inputs, tools, outside, image: image.clone() })?;
        Ok(image)
    }

    /// What the module's image is put on: what it names, or what its language needs.
    fn base(&self, module: &PlannedModule, platform: &Platform, line: &Line<'_>) -> Result<Option<Base>, ImageError> {
        let Some(name) = base_name(module)? else { return Ok(None) };
        let origin = Origin::read(&name, &module.directory);
        if !self.options.pull
            && let Some(base) = base::known(&self.store, &origin, platform)
        {
            return Ok(Some(base));
        }
        let doing = format!("fetching {name}");
        line.update(&doing);
        let pull = |name: &str| self.pull(module, name, platform, &line.transfer(&doing));
        base::import(&self.store, &origin, platform, pull).map(Some)
    }

    fn pull(
        &self,
        module: &PlannedModule,
        name: &str,
        platform: &Platform,
        transfer: &Transfer,
    ) -> Result<Descriptor, ImageError> {
        let reference: Reference = name.parse().map_err(|error: InvalidReference| ImageError::Unbuildable {
            reason: error.to_string(),
            hint: "Correct `base` under `edgectl` in module.json.".to_owned(),
        })?;
        let logins = self.logins(module);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ImageError::io("the asynchronous runtime"))?;
        let pulled = runtime.block_on(async {
            let pulling = pull(&self.store, &reference, platform, &logins, transfer);
            let Ok(mut signals) = Signals::listen() else { return pulling.await };
            tokio::select! {
                pulled = pulling => pulled,
                // The command hears it too, and ends as signals want it.
                _ = signals.next() => Err(ImageError::Failed { tool: "fetching", reason: None }.into()),
            }
        });
        pulled.map_err(|error| match error {
            RegistryError::Image(error) => error,
            RegistryError::Denied { ref registry, .. } => {
                ImageError::DeniedBase { name: name.to_owned(), reason: error.to_string(), hint: log_in_hint(registry) }
            }
            error => ImageError::NoBase { name: name.to_owned(), reason: error.to_string() },
        })
    }

    fn inputs(
        &self,
        module: &PlannedModule,
        platform: &Platform,
        base: Option<&Base>,
        revision: Option<&Revision>,
        known: Option<&Record>,
    ) -> Result<Inputs, ImageError> {
        let mut facts = BTreeMap::from([
            ("the builder".to_owned(), format!("edgectl {} format {FORMAT}", env!("CARGO_PKG_VERSION"))),
            ("the image".to_owned(), module.image.clone()),
            ("the platform".to_owned(), platform.to_string()),
            ("`edgectl` in module.json".to_owned(), json!(module.build).to_string()),
            ("the revision".to_owned(), revision.map(|found| found.commit.clone()).unwrap_or_default()),
        ]);
        let digest = |base: &Base| Digest::of(json!([base.config, base.layers]).to_string().as_bytes()).to_string();
        facts.insert("the base image".to_owned(), base.map(digest).unwrap_or_default());
        for name in FLAGS {
            facts.insert(name.to_owned(), self.context.settings.environment.get(name).cloned().unwrap_or_default());
        }
        let mut files = stage::files(&self.solution.root, &module.directory);
        let outside = known.map(|known| known.outside.as_slice()).unwrap_or_default();
        files.extend(outside.iter().filter(|path| path.exists()).cloned());
        let mut inputs = Inputs::gather(facts, files, known.map(|known| &known.inputs))?;
        add_tools(&mut inputs, known.map(|known| known.tools.as_slice()).unwrap_or_default());
        Ok(inputs)
    }

    /// Whether all of an image is in the store, and as it was if that is to be checked.
    fn is_whole(&self, image: &Image) -> bool {
        let is_there =
            |found: &Descriptor| if self.options.check { self.store.verify(found) } else { self.store.has(found) };
        let entries: Vec<Descriptor> =
            std::iter::once(&image.manifest).chain(image.bill.as_ref().map(|(bill, _)| bill)).cloned().collect();
        if !entries.iter().all(is_there) || image.bill.as_ref().is_some_and(|(_, path)| !path.is_file()) {
            return false;
        }
        // A document that cannot be read is one that is not there.
        layout::content(&self.store, &entries).is_ok_and(|content| content.iter().all(is_there))
    }

    fn assemble(
        &self,
        module: &PlannedModule,
        platform: &Platform,
        base: Option<&Base>,
        revision: Option<&Revision>,
        content: Content,
    ) -> Result<Image, ImageError> {
        let environment = &self.context.settings.environment;
        let epoch: Option<u64> = environment.get("SOURCE_DATE_EPOCH").and_then(|text| text.trim().parse().ok());
        let git = tool::find(environment, "git");
        let described = revision.zip(git).map(|(revision, git)| revision.describe(&git, &module.directory));
        let described = described.unwrap_or_default();
        let time = epoch.or(described.time).unwrap_or(0);
        let packing = packing(module);
        let own = content.parts.iter().map(|part| self.layer(part, epoch.unwrap_or(0), packing));
        let own: Vec<Layer> = own.collect::<Result<_, _>>()?;
        let mut settings = content.settings;
        settings.labels = labels(module, base, &described, time);
        let config = config::compose(base.map(|base| &base.config), platform, &settings, &own, time);
        let config = self.store.put(CONFIG, config.to_string().as_bytes())?;
        let below = base.map(|base| base.layers.clone()).unwrap_or_default();
        let layers: Vec<Descriptor> =
            below.into_iter().chain(own.iter().map(|layer| layer.descriptor.clone())).collect();
        let size = layers.iter().map(|layer| layer.size).sum();
        let mut manifest = Manifest::new(config, layers);
        manifest.annotations = settings.labels;
        let mut manifest = self.store.put(MANIFEST, json!(manifest).to_string().as_bytes())?;
        manifest.platform = Some(platform.clone());
        let bill = self.bill(module, &manifest, base, &content.packages, time)?;
        Ok(Image { manifest, bill: Some(bill), size, own_layers: own.len() })
    }

    /// Writes a layer, unless one was made from the same before.
    fn layer(&self, part: &Part, time: u64, packing: Packing) -> Result<Layer, ImageError> {
        let write = || layer::write(&self.store, &part.files, time, part.purpose, packing);
        let Some(key) = &part.key else { return write() };
        let key = Digest::of(format!("{FORMAT} {packing:?} {key} {time}").as_bytes());
        let path = self.store.root().join(LAYERS).join(format!("{}.json", key.hexadecimal()));
        let known = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Layer>(&bytes).ok());
        if let Some(known) = known.filter(|known| self.store.verify(&known.descriptor)) {
            return Ok(known);
        }
        let layer = write()?;
        write_atomically(&path, json!(layer).to_string().as_bytes()).map_err(ImageError::io(path))?;
        Ok(layer)
    }

    fn bill(
        &self,
        module: &PlannedModule,
        manifest: &Descriptor,
        base: Option<&Base>,
        packages: &[Package],
        time: u64,
    ) -> Result<(Descriptor, PathBuf), ImageError> {
        let name = base_name(module)?;
        let digest = base.and_then(|base| base.manifest.as_ref()).map(|found| found.digest.as_str());
        let subject =
            Subject { image: &module.image, manifest, base: name.as_deref().map(|name| (name, digest)), time };
        let bill = serde_json::to_vec_pretty(&sbom::document(subject, packages)).unwrap_or_default();
        let attached = sbom::attach(&self.store, manifest, &bill)?.named(&format!("{}.sbom", module.image));
        let file = module.image.replace(['/', ':'], "_");
        let path = self.solution.state().join("sbom").join(format!("{file}.spdx.json"));
        write_atomically(&path, &bill).map_err(ImageError::io(path.clone()))?;
        Ok((attached, path))
    }

    /// A folder for what is made on the way to a module.
    pub fn workspace(&self, module: &PlannedModule) -> Result<PathBuf, ImageError> {
        workspace::make(self.solution, &module.directory)
    }

    fn record_path(&self, module: &PlannedModule) -> PathBuf {
        let name = Digest::of(module.image.as_bytes());
        self.store.root().join("built").join(format!("{}.json", &name.hexadecimal()[..32]))
    }

    /// What is kept of the build before.
    pub fn record(&self, module: &PlannedModule) -> Option<Record> {
        serde_json::from_slice(&fs::read(self.record_path(module)).ok()?).ok()
    }

    /// Keeps an image, and what it was made from.
    pub fn keep(&self, module: &PlannedModule, record: &Record) -> Result<(), ImageError> {
        let path = self.record_path(module);
        let mut entries = vec![record.image.manifest.clone().named(&module.image)];
        entries.extend(record.image.bill.iter().map(|(bill, _)| bill.clone()));
        keep_entries(&self.store, &entries)?;
        write_atomically(&path, json!(record).to_string().as_bytes()).map_err(ImageError::io(path))
    }
}

/// Adds entries to the layout of the store; builds that end together come one after the other.
pub fn keep_entries(store: &Store, entries: &[Descriptor]) -> Result<(), ImageError> {
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    layout::add(store.root(), entries)
}

/// How the layers of a module's image are kept. It follows from the image's name alone, so that an image has one digest
/// whatever is done with it.
pub fn packing(module: &PlannedModule) -> Packing {
    let is_local = module.image.parse().is_ok_and(|name: Reference| name.is_local());
    if is_local { Packing::Plain } else { Packing::Gzip }
}

fn add_tools(inputs: &mut Inputs, tools: &[PathBuf]) {
    for tool in tools {
        let tool = tool.canonicalize().unwrap_or_else(|_| tool.clone());
        inputs.add_fact(tool.display().to_string(), stamp(&tool));
        // What rustup puts in the place of a tool does not change when the tool does.
        if tool.file_name().is_some_and(|name| name == "rustup") {
            let home = tool.ancestors().nth(3).map(|home| home.join(".rustup")).unwrap_or_default();
            inputs.add_fact(
                "the Rust toolchain",
                format!("{} {}", stamp(&home.join("settings.toml")), stamp(&home.join("toolchains"))),
            );
        }
    }
}

fn platform_of(module: &PlannedModule) -> Result<Platform, ImageError> {
    let found = module.runs_on().map_err(|error| ImageError::Unbuildable {
        reason: error.to_string(),
        hint: "Correct `platforms` under `edgectl` in module.json.".to_owned(),
    })?;
    let name = &module.platform;
    let platform = found.ok_or_else(|| ImageError::Unbuildable {
        reason: format!("what the platform {name} runs on is not known"),
        hint: format!("Say it in module.json: `\"edgectl\": {{ \"platforms\": {{ \"{name}\": \"linux/amd64\" }} }}`."),
    })?;
    if platform.os != "linux" {
        return Err(ImageError::Unbuildable {
            reason: format!("images for {} are not built here", platform.os),
            hint: "Build it with its Dockerfile, on an engine for that system.".to_owned(),
        });
    }
    Ok(platform)
}

/// What the module's image is put on; none for a program that needs nothing.
pub fn base_name(module: &PlannedModule) -> Result<Option<String>, ImageError> {
    if let Some(name) = &module.build.base {
        return Ok(Some(name.clone()).filter(|name| name != "scratch"));
    }
    Ok(match ModuleKind::detect(&module.directory)? {
        ModuleKind::Python => Some(python::BASE.to_owned()),
        ModuleKind::Node => Some(node::BASE.to_owned()),
        ModuleKind::Rust | ModuleKind::C | ModuleKind::Go => None,
    })
}

fn labels(
    module: &PlannedModule,
    base: Option<&Base>,
    described: &revision::Described,
    time: u64,
) -> BTreeMap<String, String> {
    let base_digest = base.and_then(|base| base.manifest.as_ref()).map(|found| found.digest.to_string());
    let base_name = base.and_then(|_| base_name(module).ok().flatten());
    let version = module.image.rsplit_once(':').map(|(_, tag)| tag.to_owned());
    let labels = [
        ("title", Some(module.name().to_owned())),
        ("version", version),
        ("created", Some(config::created(time))),
        ("source", described.source.clone()),
        ("revision", described.name.clone()),
        ("base.name", base_name),
        ("base.digest", base_digest),
    ];
    let labels = labels.into_iter().filter_map(|(name, value)| Some((name, value?)));
    labels.map(|(name, value)| (format!("org.opencontainers.image.{name}"), value)).collect()
}

/// One image for several platforms.
#[derive(Debug, Clone)]
pub struct ForAll {
    /// The module that it is of.
    pub module: String,
    /// Its name: the module's repository and version.
    pub name: String,
    /// Its index.
    pub index: Descriptor,
}

/// Puts the images of each module together that was built for several platforms.
pub fn combine(store: &Store, built: &[(PlannedModule, Image)]) -> Result<Vec<ForAll>, ImageError> {
    let mut by_name: BTreeMap<&str, Vec<&(PlannedModule, Image)>> = BTreeMap::new();
    for item in built {
        by_name.entry(item.0.image_of_all()).or_default().push(item);
    }
    let mut combined = Vec::new();
    for (name, images) in by_name.into_iter().filter(|(_, images)| images.len() > 1) {
        let manifests = images.iter().map(|(_, image)| image.manifest.clone()).collect();
        let index = store.put(INDEX, json!(Index::new(manifests)).to_string().as_bytes())?;
        combined.push(ForAll { module: images[0].0.name().to_owned(), name: name.to_owned(), index });
    }
    let entries: Vec<Descriptor> = combined.iter().map(|all| all.index.clone().named(&all.name)).collect();
    if !entries.is_empty() && !layout::read(store.root())?.ends_with(&entries) {
        keep_entries(store, &entries)?;
    }
    Ok(combined)
}
