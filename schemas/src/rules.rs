//! The rules documents are checked against, in one table. `edgectl explain CODE` shows an entry.

use crate::diagnostic::{Rule, Severity};

macro_rules! rules {
    ($($name:ident $code:literal $severity:ident $title:literal $explanation:literal)*) => {
        $(
            #[doc = $title]
            pub static $name: Rule = Rule {
                code: $code,
                severity: Severity::$severity,
                title: $title,
                explanation: $explanation,
            };
        )*
        /// All rules, by code.
        pub static ALL: &[&Rule] = &[$(&$name),*];
    };
}

/// The rule of that code, in any case.
pub fn find(code: &str) -> Option<&'static Rule> {
    ALL.iter().copied().find(|rule| rule.code.eq_ignore_ascii_case(code))
}

rules! {
    NOT_READABLE "EDGE0001" Error "the document cannot be read"
"The text is not JSON, JSON with comments, or YAML, or it is larger or nested deeper than any real manifest.
Nothing else is checked until it can be read.

    { \"modulesContent\": { \"$edgeAgent\": { } }     the last bracket is missing"

    EXTENDED_JSON "EDGE0002" Note "the JSON has comments or trailing commas"
"edgectl reads JSON with comments and trailing commas; other tools that take the same file may not.
A rendered manifest is always strict JSON."

    REPEATED_NAME "EDGE0003" Warning "a name appears twice in one object"
"Of members with the same name only the last one counts, so the first one is dead text. Names that differ in
case alone are the same to the edge agent.

    { \"status\": \"running\", \"status\": \"stopped\" }     means stopped"

    UNKNOWN_DOCUMENT "EDGE0004" Error "the document is none that edgectl knows"
"A deployment manifest or template has a top-level `modulesContent` (or `content.modulesContent`), a `module.json`
has `image`, a solution file is called `edgectl.yaml`."

    UNDEFINED_VARIABLE "EDGE0101" Error "a variable of the template is not set"
"`${NAME}` in a template is replaced by the environment or by the `.env` file of the solution. A name that neither
sets stays in the manifest as it is, and the device sees the braces. Set it in `.env`, or in the environment:

    echo 'CONTAINER_REGISTRY_SERVER=registry.example.com' >> .env"

    UNDEFINED_INNER_VARIABLE "EDGE0102" Warning "a variable in a container's options is not set"
"`${NAME}` in create options or in a module's environment is replaced while the template is rendered, not in the
container. If the container's shell is meant to replace it, nothing needs to be done as long as no variable
of that name is set where the template is rendered."

    UNKNOWN_PLACEHOLDER "EDGE0103" Error "an image placeholder names no module"
"`${MODULES.name}` stands for the image that is built from the directory `modules/name`: the directory's name counts,
not the name of the module in the manifest. `${MODULEDIR<../path>}` names a directory by its path. The directory
needs a `module.json`."

    UNSUPPORTED_PLATFORM "EDGE0104" Error "the module has no image for the platform"
"`${MODULES.name}` takes the entry of the chosen platform under `image.tag.platforms` in the module's `module.json`,
and `${MODULES.name.debug}` the entry called `PLATFORM.debug`. Without such an entry nothing is built and the
placeholder stays in the manifest."

    PARTIAL_PLACEHOLDER "EDGE0105" Error "an image placeholder is only a part of the image"
"A placeholder is replaced only where it is the whole value of `settings.image` of a user module.

    \"image\": \"${MODULES.filter}-debug\"     stays as it is"

    RESERVED_VARIABLE "EDGE0106" Warning "a variable has the name of a part of the manifest"
"A variable called `edgeAgent`, `edgeHub`, `upstream` or `schema` would replace `$edgeAgent`, `$edgeHub`, `$upstream` or
`$schema` in every template. edgectl leaves these four alone; with `--compat` they are replaced."

    INVALID_MODULE_FILE "EDGE0107" Error "a module.json is not valid"
"`module.json` describes the image of a module:

    { \"$schema-version\": \"0.0.1\",
      \"image\": { \"repository\": \"registry.example.com/filter\",
                 \"tag\": { \"version\": \"0.0.1\", \"platforms\": { \"amd64\": \"./Dockerfile.amd64\" } },
                 \"buildOptions\": [], \"contextPath\": \".\" } }"

    NO_MODULE_FILE "EDGE0108" Error "the directory of a placeholder has no module.json"
"`${MODULEDIR<../path>}` names a directory relative to the template. It needs a `module.json`."
}
