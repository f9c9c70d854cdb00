//! Who the user is at registries: tokens that another server gives, and helpers that keep passwords.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use assert_cmd::assert::Assert;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD as JWT};
use jiff::Timestamp;
use rcgen::{CertificateParams, DnType, KeyPair};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::binary::{edgectl, refused};
use crate::build::{programs, solution};
use crate::docker_engine;
use crate::images::{C, PYTHON};
use crate::registry::{Running, at, based, debian_registry, debian_registry_with};
use crate::registry_faults::{Fault, answer, faulty};

/// How long tokens are good for, in seconds.
const HOUR: i64 = 3600;

/// A server that gives tokens to `me` whose password is `secret`, and to whoever has the token `refresh`.
struct TokenServer {
    address: String,
    certificate: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// What tokens were asked for, each with all that it should allow.
    asked: Vec<Vec<String>>,
    /// How long tokens are good for, in seconds.
    life: i64,
}

impl TokenServer {
    fn start() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.distinguished_name.push(DnType::CommonName, "tokens");
        let certificate = parameters.self_signed(&key).unwrap();
        let chain = BASE64.encode(certificate.der());
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.serialized_der(), &SystemRandom::new())
                .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("localhost:{}", listener.local_addr().unwrap().port());
        let state = Arc::new(Mutex::new(State { life: HOUR, ..State::default() }));
        let kept = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                give(stream.unwrap(), &key, &chain, &mut kept.lock().unwrap());
            }
        });
        Self { address, certificate: certificate.pem(), state }
    }

    /// Debian's registry, which trusts this server; `realm` is where it tells clients to go.
    fn registry(&self, realm: &str) -> Running {
        debian_registry_with(|place| {
            let bundle = place.join("tokens.pem");
            fs::write(&bundle, &self.certificate).unwrap();
            format!(
                "auth: {{ token: {{ realm: \"http://{realm}/token\", service: tests, issuer: the tests, \
                 rootcertbundle: {} }} }}\n",
                bundle.display()
            )
        })
    }

    /// What was asked for since this was asked last.
    fn asked(&self) -> Vec<Vec<String>> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }
}

/// Answers the one request of a connection.
fn give(mut stream: TcpStream, key: &EcdsaKeyPair, chain: &str, state: &mut State) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut line, mut login, mut length) = (String::new(), None, 0);
    reader.read_line(&mut line).unwrap();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        let Some((name, value)) = header.trim().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => login = Some(value.to_owned()),
            "content-length" => length = value.parse().unwrap(),
            _ => {}
        }
    }
    let mut body = String::new();
    reader.take(length).read_to_string(&mut body).unwrap();
    let is_form = line.starts_with("POST /token ");
    let query = if is_form { body } else { line.split(['?', ' ']).nth(2).unwrap_or_default().to_owned() };
    let plain = |text: &str| {
        [("%20", " "), ("+", " "), ("%3A", ":"), ("%2C", ",")]
            .iter()
            .fold(text.to_owned(), |text, (code, meant)| text.replace(code, meant))
    };
    let fields: Vec<(&str, String)> =
        query.split('&').filter_map(|field| field.split_once('=')).map(|(k, v)| (k, plain(v))).collect();
    let has = |name: &str, value: &str| fields.iter().any(|(found, known)| *found == name && known == value);
    assert!(has("service", "tests"), "{query}");
    let scopes: Vec<String> = fields
        .iter()
        .filter(|(name, _)| *name == "scope")
        .flat_map(|(_, scopes)| scopes.split(' ').map(str::to_owned))
        .collect();
    state.asked.push(scopes.clone());
    let is_known = if is_form {
        // The second is what engines ask with.
        (has("grant_type", "refresh_token") && has("refresh_token", "refresh"))
            || (has("grant_type", "password") && has("username", "me") && has("password", "secret"))
    } else {
        login == Some(format!("Basic {}", BASE64.encode("me:secret")))
    };
    let (status, name) = match (is_known, is_form) {
        (true, true) => ("200 OK", "access_token"),
        (true, false) => ("200 OK", "token"),
        (false, true) => ("400 Bad Request", "error"),
        (false, false) => ("401 Unauthorized", "error"),
    };
    let token = if is_known { token(key, chain, &scopes, state.life) } else { "invalid_grant".to_owned() };
    let body = json!({ name: token }).to_string();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all((head + &body).as_bytes()).unwrap();
}

/// A token as the registry wants it, which allows all of the scopes.
fn token(key: &EcdsaKeyPair, chain: &str, scopes: &[String], life: i64) -> String {
    let access: Vec<Value> = scopes
        .iter()
        .map(|scope| {
            let mut parts = scope.split(':');
            let (kind, name, actions) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
            json!({ "type": kind, "name": name, "actions": actions.split(',').collect::<Vec<_>>() })
        })
        .collect();
    let now = Timestamp::now().as_second();
    let header = json!({ "typ": "JWT", "alg": "ES256", "x5c": [chain] });
    let claims = json!({
        "iss": "the tests", "sub": "me", "aud": "tests", "jti": "1",
        "nbf": now - 2 * HOUR, "iat": now - 2 * HOUR, "exp": now + life, "access": access,
    });
    let text = format!("{}.{}", JWT.encode(header.to_string()), JWT.encode(claims.to_string()));
    let signature = key.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
    format!("{text}.{}", JWT.encode(signature))
}

/// The settings of a user's engine, with helpers that are found there.
struct User {
    settings: TempDir,
    helper: TempDir,
}

impl User {
    fn new() -> Self {
        let script = "#!/bin/sh\n[ \"$1\" = get ] || exit 2\nplace=${0%/*}\ncat >\"$place/asked\"\n\
                      cat \"$place/answer\"\nexit \"$(cat \"$place/status\")\"\n";
        Self { settings: tempdir().unwrap(), helper: programs(&[("docker-credential-edgetest", script)]) }
    }

    fn config(&self, config: &Value) {
        fs::write(self.settings.path().join("config.json"), config.to_string()).unwrap();
    }

    /// Has logged in with a password.
    fn password(&self, registry: &str, password: &str) {
        self.config(&json!({ "auths": { registry: { "auth": BASE64.encode(format!("me:{password}")) } } }));
    }

    /// What the helper says from now on, and how it ends.
    fn helper_says(&self, answer: &str, status: u8) {
        fs::write(self.helper.path().join("answer"), answer).unwrap();
        fs::write(self.helper.path().join("status"), status.to_string()).unwrap();
    }

    fn build(&self, place: &Path, arguments: &[&str]) -> Assert {
        self.command(place, arguments).assert()
    }

    fn build_with_engine(&self, place: &Path) -> Assert {
        self.command(place, &["--image"]).env("DOCKER_HOST", docker_engine::host()).assert()
    }

    fn command(&self, place: &Path, arguments: &[&str]) -> assert_cmd::Command {
        let path = format!("{}:{}", self.helper.path().display(), std::env::var("PATH").unwrap());
        let mut command = edgectl(place);
        command.arg("build").args(arguments).env("DOCKER_CONFIG", self.settings.path()).env("PATH", path);
        command
    }

    fn push(&self, place: &Path) -> Assert {
        self.build(place, &["--push", "-q"])
    }
}

fn login(name: &str, secret: &str) -> String {
    json!({ "ServerURL": "any", "Username": name, "Secret": secret }).to_string()
}

#[test]
fn a_token_is_asked_for_what_comes_next_and_once() {
    let (tokens, user) = (TokenServer::start(), User::new());
    let registry = tokens.registry(&tokens.address);
    let place = solution(&[("cee", "c", C)]);
    at(place.path(), &["cee"], &registry.address);
    refused(user.push(place.path()), 9, "does not let somebody who has not logged in do that: push");
    user.password(&registry.address, "wrong");
    refused(user.push(place.path()), 9, "does not let me do that: push");
    tokens.asked();
    user.password(&registry.address, "secret");
    user.push(place.path()).success();
    let (pull, push) = ("repository:cee:pull".to_owned(), "repository:cee:pull,push".to_owned());
    assert_eq!(tokens.asked(), [vec![pull.clone(), push]]);

    // Where the registry takes a blob from is a repository more.
    let module = place.path().join("modules/cee/module.json");
    fs::write(&module, fs::read_to_string(&module).unwrap().replace("/cee", "/other")).unwrap();
    let pushed = user.build(place.path(), &["--push", "--json"]).success();
    let pushed: Value = serde_json::from_slice(&pushed.get_output().stdout).unwrap();
    assert_eq!(pushed["pushed"][0]["mounted"], 2, "{pushed}");
    let asked = tokens.asked();
    let both = [&pull, "repository:other:pull,push"];
    assert!(asked.iter().any(|scopes| both.iter().all(|scope| scopes.iter().any(|asked| asked == scope))), "{asked:?}");
    assert!(asked.iter().flatten().all(|scope| *scope == pull || scope.starts_with("repository:other:")), "{asked:?}");

    let snake = solution(&[("snake", "python", PYTHON)]);
    based(snake.path(), "snake", &format!("{}/cee:1-amd64", registry.address));
    user.password(&registry.address, "wrong");
    refused(user.build(snake.path(), &["--image", "-q"]), 9, "does not let me do that: pull");
    tokens.asked();
    user.password(&registry.address, "secret");
    user.build(snake.path(), &["--image"]).success();
    assert_eq!(tokens.asked(), [vec![pull]]);

    // The manifest's credentials are as good for bases as for what is pushed.
    user.config(&json!({}));
    fs::remove_dir_all(snake.path().join(".edgectl")).unwrap();
    let template = snake.path().join("deployment.template.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&template).unwrap()).unwrap();
    manifest["modulesContent"]["$edgeAgent"]["properties.desired"]["runtime"] = json!({ "settings": {
        "registryCredentials": { "r": { "address": registry.address, "username": "me", "password": "secret" } },
    } });
    fs::write(template, manifest.to_string()).unwrap();
    user.build(snake.path(), &["--image"]).success();
}

#[test]
fn a_token_that_expired_is_told_and_one_that_expires_in_between_is_asked_for_anew() {
    let (tokens, user) = (TokenServer::start(), User::new());
    let registry = tokens.registry(&tokens.address);
    let place = solution(&[("cee", "c", C)]);
    let challenge = format!(
        "WWW-Authenticate: Bearer realm=\"http://{}/token\",service=\"tests\",scope=\"repository:cee:pull,push\"",
        tokens.address
    );
    let (address, _) = faulty(&registry.address, move |key, before| {
        (key.starts_with("PUT ") && before == 0).then(|| answer("401 Unauthorized", &challenge))
    });
    at(place.path(), &["cee"], &address);
    user.password(&address, "secret");
    tokens.state.lock().unwrap().life = -HOUR;
    refused(user.push(place.path()), 9, "tokens expire");
    tokens.state.lock().unwrap().life = HOUR;
    tokens.asked();
    user.push(place.path()).success();
    assert!(tokens.asked().len() > 1);
}

#[test]
fn a_server_of_tokens_is_tried_again_and_named_where_it_is_gone() {
    let (tokens, user) = (TokenServer::start(), User::new());
    let place = solution(&[("cee", "c", C)]);
    let (realm, _) = faulty(&tokens.address, |_, before| match before {
        0 => Some(answer("503 Service Unavailable", "Retry-After: 0")),
        1 => Some(Fault::Close),
        _ => None,
    });
    let registry = tokens.registry(&realm);
    at(place.path(), &["cee"], &registry.address);
    user.password(&registry.address, "secret");
    user.push(place.path()).success();
    assert_eq!(tokens.asked().len(), 1);

    let registry = tokens.registry("localhost:1");
    at(place.path(), &["cee"], &registry.address);
    user.password(&registry.address, "secret");
    refused(user.push(place.path()), 1, "http://localhost:1/token, which gives tokens for it, does not answer");
}

#[test]
fn a_helper_says_who_the_user_is_and_its_trouble_is_told_where_that_matters() {
    let (registry, user) = (debian_registry(true), User::new());
    let place = solution(&[("cee", "c", C)]);
    at(place.path(), &["cee"], &registry.address);
    let wrong = json!({ registry.address.clone(): { "auth": BASE64.encode("me:wrong") } });
    // The helper of a registry goes before what is written for it, and any other behind.
    let of_this = json!({ "auths": wrong, "credHelpers": { registry.address.clone(): "edgetest" } });
    for config in [json!({ "credsStore": "edgetest" }), of_this] {
        user.config(&config);
        user.helper_says(&login("me", "secret"), 0);
        user.push(place.path()).success();
        assert_eq!(fs::read_to_string(user.helper.path().join("asked")).unwrap(), registry.address);
    }

    user.config(&json!({ "credsStore": "edgetest" }));
    user.helper_says("credentials not found in native keychain\n", 1);
    refused(user.push(place.path()), 9, "somebody who has not logged in");
    for (answer, status, words) in [
        ("the key ring is locked\n", 1, "docker-credential-edgetest failed: the key ring is locked"),
        ("", 3, "docker-credential-edgetest failed: exit status: 3"),
        ("my-secret", 0, "docker-credential-edgetest failed: its answer is not JSON"),
        ("{\"Username\": \"me\"}", 0, "docker-credential-edgetest failed: its answer has no Secret"),
    ] {
        user.helper_says(answer, status);
        let assert = user.push(place.path());
        let text = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert!(!text.contains("my-secret"), "{text}");
        refused(assert, 9, words);
    }
    user.config(&json!({ "credsStore": "nowhere" }));
    refused(user.push(place.path()), 9, "docker-credential-nowhere failed: No such file");

    // Who needs no login is not kept from anything by a helper that fails.
    let open = debian_registry(false);
    at(place.path(), &["cee"], &open.address);
    user.push(place.path()).success();
}

#[test]
fn a_token_in_the_place_of_a_password_gets_tokens() {
    let (tokens, user) = (TokenServer::start(), User::new());
    let registry = tokens.registry(&tokens.address);
    let place = solution(&[("cee", "c", C)]);
    at(place.path(), &["cee"], &registry.address);
    user.config(&json!({ "credHelpers": { registry.address.clone(): "edgetest" } }));
    user.helper_says(&login("<token>", "old-token"), 0);
    let assert = user.push(place.path());
    assert!(!String::from_utf8_lossy(&assert.get_output().stderr).contains("old-token"));
    refused(assert, 9, "the holder of this token");
    user.helper_says(&login("<token>", "refresh"), 0);
    user.push(place.path()).success();

    // As `docker login` writes it where there is no helper.
    let entry = json!({ "auth": BASE64.encode("00000000-0000-0000-0000-000000000000:"), "identitytoken": "refresh" });
    user.config(&json!({ "auths": { registry.address.clone(): entry } }));
    let snake = solution(&[("snake", "python", PYTHON)]);
    based(snake.path(), "snake", &format!("{}/cee:1-amd64", registry.address));
    assert_eq!(result_with(&user, snake.path())["modules"][0]["status"], "built");
}

fn result_with(user: &User, place: &Path) -> Value {
    let built = user.build(place, &["--image", "--json"]).success();
    serde_json::from_slice(&built.get_output().stdout).unwrap()
}

/// A solution whose Dockerfile has an image of a registry as its base.
fn on_top_of(registry: &Running) -> TempDir {
    let place = solution(&[("filed", "csharp", &[])]);
    let dockerfile = format!("FROM {}/cee:1-amd64\n", registry.address);
    fs::write(place.path().join("modules/filed/Dockerfile.amd64"), dockerfile).unwrap();
    at(place.path(), &["filed"], "edgectl-tests");
    place
}

#[test]
fn an_engine_pulls_the_base_of_a_dockerfile_as_the_user() {
    let (tokens, user) = (TokenServer::start(), User::new());
    let cee = solution(&[("cee", "c", C)]);
    for (registry, refusal) in
        [(debian_registry(true), "401 Unauthorized"), (tokens.registry(&tokens.address), "failed to authorize")]
    {
        at(cee.path(), &["cee"], &registry.address);
        user.password(&registry.address, "secret");
        user.push(cee.path()).success();
        let filed = on_top_of(&registry);
        user.password(&registry.address, "wrong");
        refused(user.build_with_engine(filed.path()), 5, refusal);
        user.password(&registry.address, "secret");
        user.build_with_engine(filed.path()).success();
    }
    let registry = tokens.registry(&tokens.address);
    at(cee.path(), &["cee"], &registry.address);
    user.config(&json!({ "credHelpers": { registry.address.clone(): "edgetest" } }));
    user.helper_says(&login("<token>", "refresh"), 0);
    user.push(cee.path()).success();
    let filed = on_top_of(&registry);
    user.build_with_engine(filed.path()).success();
}
