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

/// The rule that a finding about a route breaks, by the finding's short name.
pub fn of_route(code: &str) -> &'static Rule {
    match code {
        "route-syntax" | "route-depth" | "route-empty" => &ROUTE_SYNTAX,
        "route-operands" | "route-arguments" => &ROUTE_TYPES,
        "route-function" => &ROUTE_FUNCTION,
        "route-sink" => &ROUTE_SINK,
        "route-star" => &ROUTE_STAR,
        "route-source" => &ROUTE_SOURCE,
        "route-comment" => &ROUTE_COMMENT,
        "route-tail" => &ROUTE_TAIL,
        "route-address" => &ROUTE_ADDRESS,
        "route-never-true" => &ROUTE_NEVER_TRUE,
        "route-name" => &ROUTE_NAME,
        "route-body" => &ROUTE_BODY,
        _ => &ROUTE_OTHER,
    }
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

    NO_DOCKERFILE "EDGE0109" Warning "a Dockerfile is not there"
"`image.tag.platforms` in `module.json` names a Dockerfile for each platform, relative to the directory of `module.json`. The
image of that platform cannot be built without it."

    INVALID_SOLUTION_FILE "EDGE0110" Error "the solution file is not valid"
"`edgectl.yaml` may say the solution's name, its device, its template, and which rules are accepted:

    name: my-solution
    device: my-device
    template: deployment.template.json
    allow: [EDGE0303]"

    MISSING_PROPERTY "EDGE0201" Error "a required property is missing"
"The agent, the hub, or the service refuses a configuration without it. A base deployment needs `$edgeAgent` with
`schemaVersion`, `runtime`, `systemModules` (with `edgeAgent` and `edgeHub`) and `modules`, and `$edgeHub` with
`schemaVersion`, and from 1.1 on with `routes` and `storeAndForwardConfiguration`. A module needs `type`, `status`
and `settings.image`."

    WRONG_TYPE "EDGE0202" Error "a value has the wrong type"
"The configuration as a whole is refused, and the device keeps the one it has.

    \"schemaVersion\": 1.1       should be \"1.1\""

    UNKNOWN_PROPERTY "EDGE0203" Warning "nobody reads this property"
"The device ignores it without a word, so what it was meant to do does not happen. Other tools may refuse the document."

    UNKNOWN_VALUE "EDGE0204" Error "a word is none of those allowed"
"The configuration is refused.

    \"restartPolicy\": \"on-failured\"      one of never, on-failure, on-unhealthy, always"

    NAME_CASE "EDGE0205" Note "a name or a word differs in case"
"The device reads names and words in any case, other tools do not."

    EMPTY_VALUE "EDGE0206" Error "a value is empty that may not be"
"The configuration is refused, or the part with the empty value does nothing."

    OUT_OF_RANGE "EDGE0207" Error "a number is out of range"
"`priority` of a route is from 0 (most urgent) to 9, `startupOrder` and `timeToLiveSecs` of a route from 0 to 4294967295."

    SCHEMA_VERSION "EDGE0208" Error "the schema version is not accepted"
"The edge agent takes 1.0 and 1.1, the edge hub 1.0 to 1.3. Anything else, a number or `1` for example, is refused with
status 412, and the device keeps the configuration it has."

    FEATURE_VERSION "EDGE0209" Error "a feature is newer than the schema version"
"Routes as objects, with priority and time to live, need the hub's schema version 1.1, `mqttBroker` 1.2, `integrity` 1.3."

    MODULE_NAME "EDGE0210" Error "a name is not the name of a module"
"The name of a module has letters, digits, hyphens and underscores. It is a key of a twin and a part of addresses."

    OLD_SPELLING "EDGE0211" Warning "an old spelling"
"It is still understood, but not everywhere."

    TWIN_WITHOUT_MODULE "EDGE0212" Warning "desired properties for a module that is not there"
"The content has desired properties for a module that `$edgeAgent` does not run. Often the names differ by a letter."

    MISPLACED_PROPERTY "EDGE0213" Warning "a property stands on the wrong level"
"`imagePullPolicy`, `env`, `startupOrder` and the like belong to the module itself, beside `settings`. Inside `settings`
nobody reads them.

    \"filter\": { \"settings\": { \"image\": … }, \"imagePullPolicy\": \"never\" }"

    ODD_STATUS "EDGE0214" Warning "a status that means nothing as a wish"
"`status` is `running` or `stopped`. The agent reads other words too, as states it reports, but does nothing for them."

    DEFAULT_RESTART_POLICY "EDGE0215" Note "the restart policy is left out"
"The agent then takes `on-unhealthy`; other tools refuse the document."

    VARIABLE_NAME "EDGE0216" Error "the name of an environment variable is not allowed"
"Names of variables are keys of a twin: no `.`, `$`, `#`, `+` and no blanks. For sections of a configuration write `__`.
Variables with other names can stand in `Env` of createOptions."

    LATER_FEATURE "EDGE0217" Note "a feature is newer than the schema version, and works all the same"
"`startupOrder` came with schema version 1.1. Agents that know it take it under 1.0 too; other tools refuse it."

    CONTENT_PROPERTY "EDGE0218" Error "a module's content has something else than desired properties"
"The content of a module is `properties.desired`, or in a layer dotted paths that begin so. The service refuses all else."

    INVALID_IMAGE "EDGE0301" Error "the image reference is not valid"
"The agent takes `[REGISTRY/]NAME[:TAG]` and `NAME@sha256:DIGEST`, but not a tag and a digest together. It refuses the whole
configuration otherwise."

    IMAGE_CASE "EDGE0302" Error "the image has capital letters"
"Names of repositories are lower case; the engine refuses to pull others."

    MUTABLE_TAG "EDGE0303" Warning "the image's tag is `latest`"
"Two devices with the same deployment may run different images, and the device never learns of a newer one."

    END_OF_LIFE "EDGE0304" Warning "the runtime's version is no longer supported"
"1.6 is current; 1.5 ended on 2026-11-10, earlier ones before. They get no more security fixes."

    CREDENTIAL_ADDRESS "EDGE0305" Warning "the address of a credential is not the registry's"
"The agent compares the address with the first part of the image, letter for letter. Without a part that has a dot or a
colon the registry is `https://index.docker.io/v1/`.

    \"address\": \"https://registry.example.com/\"     should be \"registry.example.com\""

    UNUSED_CREDENTIAL "EDGE0306" Note "no image comes from a credential's registry"
"It is sent to the device and never used."

    LITERAL_SECRET "EDGE0307" Warning "a secret stands in the file"
"Whoever reads the repository reads the secret. Put it into `.env`, which is not committed, and write `${NAME}` here."

    CHUNK_SEQUENCE "EDGE0401" Error "the chunks of createOptions have a gap"
"Long create options go on in `createOptions01`, `createOptions02` and so on, without a gap; the first one has no number. The
agent refuses the configuration otherwise."

    MANY_CHUNKS "EDGE0402" Warning "more chunks than other tools take"
"The agent joins up to a hundred chunks, other tools at most eight (4096 characters)."

    OPTIONS_NOT_TEXT "EDGE0403" Error "createOptions is not a string"
"In a template it may be an object; in a manifest it is the text of one. `edgectl render` does it."

    LONG_CHUNK "EDGE0404" Warning "a chunk is longer than 512 characters"
"512 characters is what all tools and all versions of the service take."

    VALUE_LENGTH "EDGE0405" Error "a text is longer than a twin's values may be"
"The service refuses values of more than 4096 bytes. Create options can be cut into chunks."

    OPTIONS_NOT_JSON "EDGE0406" Error "createOptions is not JSON"
"The text of createOptions is JSON in itself, strict and with its quotes escaped once. The agent refuses the configuration
otherwise."

    OPTIONS_NOT_OBJECT "EDGE0407" Error "createOptions is not an object"
"The body of the engine's create request is an object. The agent refuses anything else."

    UNKNOWN_OPTION "EDGE0408" Warning "the container engine does not know this option"
"It is passed on, and the engine ignores it without a word."

    MISPLACED_OPTION "EDGE0409" Warning "an option stands on the wrong level"
"Options of the container (`ExposedPorts`, `Env`, `Cmd`, …) stand at the top, those of the host (`PortBindings`, `Binds`,
`Mounts`, `Privileged`, …) in `HostConfig`. On the wrong level they do nothing.

    { \"ExposedPorts\": { \"80/tcp\": {} }, \"HostConfig\": { \"PortBindings\": { \"80/tcp\": [{ \"HostPort\": \"80\" }] } } }"

    OPTION_CASE "EDGE0410" Note "an option differs in case"
"The agent corrects the case of options it knows; other engines and tools may not."

    OPTION_TYPE "EDGE0411" Error "an option has the wrong type"
"The agent, or the engine, refuses it."

    INVALID_PORT "EDGE0412" Error "this is not a port"
"Ports are from 1 to 65535; those of the container carry a protocol: `8883/tcp`. The engine refuses to make the container."

    PORTS_ON_HOST_NETWORK "EDGE0413" Warning "port bindings in the network of the host"
"A container in the network of the host has all its ports open there; bindings are ignored."

    PORT_CLASH "EDGE0414" Error "two modules want the same port of the host"
"The container that comes second cannot start, and the agent tries again for ever. The edge hub takes 443, 5671 and 8883
where its create options bind them."

    INVALID_BIND "EDGE0415" Error "a bind cannot be mounted"
"A bind is `SOURCE:TARGET` with an absolute path or the name of a volume, and an absolute path in the container. The engine
refuses to make the container otherwise."

    PRIVILEGED "EDGE0416" Warning "the container is privileged"
"It may do everything on the machine. Most devices can be had with `Devices` or `CapAdd`."

    ENGINE_SOCKET "EDGE0417" Warning "the container gets the engine's socket"
"Whoever can talk to the engine can start a privileged container: it is the same as being root on the machine."

    NO_TIME_TO_LIVE "EDGE0501" Warning "messages have no time to live"
"Without `timeToLiveSecs` messages that cannot be delivered are kept for ever, until the disk is full."

    BROKER "EDGE0502" Error "the configuration of the broker is not valid"
"The hub checks `mqttBroker` though no broker reads it any more, and refuses the whole configuration for one error."

    ROUTE_SYNTAX "EDGE0601" Error "the route is not valid"
"A route is `FROM source [WHERE condition] INTO sink`. One bad route makes the hub refuse its whole new configuration.

    FROM /messages/modules/sensor/outputs/* WHERE as_number(temperature) > 20 INTO $upstream"

    ROUTE_TYPES "EDGE0602" Error "the types in a route's condition do not fit"
"Both sides of a comparison have the same type, and nothing turns a text into a number by itself: properties are texts.

    temperature > 20             never compiles
    as_number(temperature) > 20  does"

    ROUTE_FUNCTION "EDGE0603" Error "a route calls a function that does not exist"
"There are abs, exp, power, square, ceiling, floor, sign, sqrt, as_number, is_bool, is_defined, is_null, is_number, is_string,
concat, length, lower, upper, substring, index_of, starts_with, ends_with and contains."

    ROUTE_SINK "EDGE0604" Error "the sink of a route is not valid"
"A sink is `$upstream` or `BrokeredEndpoint(\"/modules/MODULE/inputs/INPUT\")`, with exactly four parts."

    ROUTE_STAR "EDGE0605" Warning "a star that is no wildcard"
"A source matches everything that begins with it; a star counts at the very end alone. In the middle it is an ordinary
character, which no message has.

    FROM /messages/modules/*/outputs/alert INTO $upstream      never fires"

    ROUTE_SOURCE "EDGE0606" Warning "a source that no message has"
"Messages come from `/messages`, `/messages/modules/MODULE`, `/messages/modules/MODULE/outputs/OUTPUT` and
`/twinChangeNotifications`."

    ROUTE_COMMENT "EDGE0607" Warning "a comment swallows a part of the route"
"`/*` begins a comment, in a source too: in `FROM /messages/* WHERE a = 'b' /* note */ INTO $upstream` everything from the
first `/*` to `*/` is a comment, and the condition is gone."

    ROUTE_TAIL "EDGE0608" Warning "text behind the sink is ignored"
"What follows a complete sink is not looked at: no second sink, no condition."

    ROUTE_ADDRESS "EDGE0609" Warning "an address with odd words"
"Only the second and the fourth part of an address are read; the first and the third may be anything."

    ROUTE_NEVER_TRUE "EDGE0610" Warning "a condition that is never true"
"Only true routes a message. A condition that is a number, a text or nothing never is."

    ROUTE_NAME "EDGE0611" Warning "a name that is not what it looks like"
"Operators without blanks around them are a part of the name: `a+b` and `x-1` are single properties. Quotes are escaped with a
backslash, and `true`, `false` and `null` are words in lower case alone."

    ROUTE_BODY "EDGE0612" Warning "a condition on the body"
"`$body` can be read only in messages whose content type is `application/json` and whose content encoding is utf-8, utf-16 or
utf-32. In all others it is undefined, and the message is not routed."

    ROUTE_UNKNOWN_SOURCE "EDGE0613" Warning "the source of a route is a module that is not there"
"No message comes from it, so the route never fires. Often a module was renamed in one place alone."

    ROUTE_UNKNOWN_SINK "EDGE0614" Warning "the sink of a route is a module that is not there"
"Messages for it are kept until they expire, and nobody gets them."

    ROUTE_MODULE_CASE "EDGE0615" Warning "the sink of a route differs in case from the module"
"Sinks are found by the exact name of the module, though sources match in any case."

    ROUTE_OTHER "EDGE0616" Warning "something odd in a route"
"The hub takes it, and it hardly does what was meant."

    ROUTE_UNKNOWN_OUTPUT "EDGE0617" Warning "the source of a route is an output that the module does not have"
"No file of the module's source, and nothing in its part of the manifest, has a word with the name of the output; or the module is
one that edgectl knows, such as the simulated temperature sensor, whose output is `temperatureOutput`. No message comes from such
an output, so the route never fires. If the module puts the name together while it runs, accept the finding:

    allow: [EDGE0617]     in edgectl.yaml"

    ROUTE_UNKNOWN_INPUT "EDGE0618" Warning "the sink of a route is an input that the module does not have"
"No file of the module's source, and nothing in its part of the manifest, has a word with the name of the input, so what arrives
there is most likely ignored. If the module puts the name together while it runs, accept the finding:

    allow: [EDGE0618]     in edgectl.yaml"

    TWIN_NAME "EDGE0701" Error "a name that no twin takes"
"Names in desired properties have no `.`, `$`, `#`, no blanks and no control characters, and at most 1024 bytes. The service
refuses them."

    TWIN_DEPTH "EDGE0702" Error "properties are nested too deeply"
"A twin has at most ten levels."

    TWIN_SIZE "EDGE0703" Error "desired properties are too large"
"The desired properties of one module have at most 32 KiB. Layers do not help: they are merged first."

    TWIN_NUMBER "EDGE0704" Error "a number that no twin holds"
"Whole numbers in a twin are from -4503599627370496 to 4503599627370495."
}
