//! What an engine asks back for while it builds with `BuildKit`: secrets, an SSH agent's signatures, and who the user is at
//! registries. None of it becomes part of the request, the image or the engine's memory of the build.
//!
//! A session is a connection that was upgraded to HTTP/2 with the parts of both sides exchanged: the engine calls services of
//! gRPC, and we answer. Source: `session/` of moby/buildkit, which `docker build` uses in the same way.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use bollard_buildkit_proto::health::health_check_response::ServingStatus;
use bollard_buildkit_proto::health::health_server::{Health, HealthServer};
use bollard_buildkit_proto::health::{HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse};
use bollard_buildkit_proto::moby::buildkit::secrets::v1::secrets_server::{Secrets, SecretsServer};
use bollard_buildkit_proto::moby::buildkit::secrets::v1::{GetSecretRequest, GetSecretResponse};
use bollard_buildkit_proto::moby::filesync::v1::auth_server::{Auth, AuthServer};
use bollard_buildkit_proto::moby::filesync::v1::{
    CredentialsRequest, CredentialsResponse, FetchTokenRequest, FetchTokenResponse, GetTokenAuthorityRequest,
    GetTokenAuthorityResponse, VerifyTokenAuthorityRequest, VerifyTokenAuthorityResponse,
};
use bollard_buildkit_proto::moby::sshforward::v1::ssh_server::{Ssh, SshServer};
use bollard_buildkit_proto::moby::sshforward::v1::{BytesMessage, CheckAgentRequest, CheckAgentResponse};
use edgectl_simulator::runtime::docker::credentials::TOKEN;
use futures_util::{Stream, StreamExt as _, stream};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use reqwest::{Client, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use crate::error::chain;
use crate::image::error::ImageError;
use crate::image::registry::client::Logins;

/// The agent that is meant where none is named.
pub const DEFAULT_AGENT: &str = "default";
/// Where the engine says which agent it means.
const AGENT_ID: &str = "buildkit.ssh.id";
/// How much of what an agent says is handed on at once, in bytes.
const CHUNK: usize = 16 << 10;
/// What the engine may call.
const METHODS: [&str; 5] = [
    "/grpc.health.v1.Health/Check",
    "/moby.buildkit.secrets.v1.Secrets/GetSecret",
    "/moby.sshforward.v1.SSH/CheckAgent",
    "/moby.sshforward.v1.SSH/ForwardAgent",
    "/moby.filesync.v1.Auth/Credentials",
];

/// What a build may ask for.
#[derive(Default)]
pub struct Lent {
    /// Secrets, by their names.
    pub secrets: BTreeMap<String, Vec<u8>>,
    /// The sockets of SSH agents, by their names.
    pub agents: BTreeMap<String, PathBuf>,
    /// Who the user is at registries.
    pub logins: Logins,
}

/// An open session, until it is dropped.
pub struct Session {
    /// What a build names it by.
    pub id: String,
    serving: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Session {
    /// Opens a session with the engine that a client reaches at an address.
    pub async fn open(client: &Client, address: &str, lent: Arc<Lent>) -> Result<Self, ImageError> {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let mut request = client
            .post(format!("{address}/v1.41/session"))
            .header("connection", "Upgrade")
            .header("upgrade", "h2c")
            .header("x-docker-expose-session-uuid", &id)
            .header("x-docker-expose-session-name", "edgectl")
            .header("x-docker-expose-session-sharedkey", "");
        for method in METHODS {
            request = request.header("x-docker-expose-session-grpc-method", method);
        }
        let lost = |error: reqwest::Error| ImageError::Engine { reason: chain(&error) };
        let answer = request.send().await.map_err(lost)?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            let reason = format!("the container engine opens no session for a build: {}", answer.status());
            return Err(ImageError::Engine { reason });
        }
        let stream = answer.upgrade().await.map_err(lost)?;
        let routes = Routes::new(HealthServer::new(Alive))
            .add_service(SecretsServer::from_arc(Arc::clone(&lent)))
            .add_service(SshServer::from_arc(Arc::clone(&lent)))
            .add_service(AuthServer::from_arc(lent));
        let serving = tokio::spawn(async move {
            let service = TowerToHyperService::new(routes.prepare());
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(%error, "the session of a build has ended");
            }
        });
        Ok(Self { id, serving })
    }
}

/// The engine ends a session that does not say that it lives.
struct Alive;

#[tonic::async_trait]
impl Health for Alive {
    async fn check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(HealthCheckResponse { status: ServingStatus::Serving.into() }))
    }

    async fn list(&self, _: Request<HealthListRequest>) -> Result<Response<HealthListResponse>, Status> {
        Err(Status::unimplemented("there is one state of health"))
    }

    type WatchStream = stream::Empty<Result<HealthCheckResponse, Status>>;

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("nothing is told of health unasked"))
    }
}

#[tonic::async_trait]
impl Secrets for Lent {
    async fn get_secret(&self, request: Request<GetSecretRequest>) -> Result<Response<GetSecretResponse>, Status> {
        let id = request.into_inner().id;
        let data = self.secrets.get(&id).cloned();
        // A mount that is not `required` is left out then.
        let data = data.ok_or_else(|| Status::not_found(format!("no secret {id} was given with --secret")))?;
        Ok(Response::new(GetSecretResponse { data }))
    }
}

impl Lent {
    /// Whether only `BuildKit` can ask for what a build needs.
    pub fn needs_kit(&self) -> bool {
        !self.secrets.is_empty() || !self.agents.is_empty()
    }

    fn agent(&self, id: &str) -> Result<&PathBuf, Status> {
        let id = if id.is_empty() { DEFAULT_AGENT } else { id };
        self.agents.get(id).ok_or_else(|| Status::not_found(format!("no SSH agent {id} was given with --ssh")))
    }
}

#[tonic::async_trait]
impl Ssh for Lent {
    async fn check_agent(&self, request: Request<CheckAgentRequest>) -> Result<Response<CheckAgentResponse>, Status> {
        self.agent(&request.into_inner().id).map(|_| Response::new(CheckAgentResponse {}))
    }

    type ForwardAgentStream = Pin<Box<dyn Stream<Item = Result<BytesMessage, Status>> + Send>>;

    async fn forward_agent(
        &self,
        request: Request<Streaming<BytesMessage>>,
    ) -> Result<Response<Self::ForwardAgentStream>, Status> {
        let id = request.metadata().get(AGENT_ID).and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
        let agent = self.agent(&id)?;
        let agent = UnixStream::connect(agent).await.map_err(|error| {
            Status::unavailable(format!("the SSH agent at {} does not answer: {error}", agent.display()))
        })?;
        let (reader, mut writer) = agent.into_split();
        let mut asked = request.into_inner();
        tokio::spawn(async move {
            // Dropping the writer at the end tells the agent that no more is asked.
            while let Some(Ok(message)) = asked.next().await {
                if writer.write_all(&message.data).await.is_err() {
                    break;
                }
            }
        });
        let answers = stream::unfold(reader, |mut reader| async {
            let mut data = vec![0; CHUNK];
            match reader.read(&mut data).await {
                Ok(0) => None,
                Ok(count) => {
                    data.truncate(count);
                    Some((Ok(BytesMessage { data }), reader))
                }
                Err(error) => Some((Err(Status::from(error)), reader)),
            }
        });
        Ok(Response::new(answers.boxed()))
    }
}

#[tonic::async_trait]
impl Auth for Lent {
    async fn credentials(&self, request: Request<CredentialsRequest>) -> Result<Response<CredentialsResponse>, Status> {
        let host = request.into_inner().host;
        let (credential, trouble) = self.logins.at(&host).await;
        if let Some(trouble) = trouble {
            tracing::warn!(%trouble, host, "it is not known who the user is at a registry");
        }
        let answer = credential.map(|credential| {
            let username = if credential.username == TOKEN { String::new() } else { credential.username };
            CredentialsResponse { username, secret: credential.password }
        });
        // Nobody in particular has an empty name.
        Ok(Response::new(answer.unwrap_or_default()))
    }

    // The engine asks the registry for tokens itself where it is told that we do not.
    async fn fetch_token(&self, _: Request<FetchTokenRequest>) -> Result<Response<FetchTokenResponse>, Status> {
        Err(not_ours())
    }

    async fn get_token_authority(
        &self,
        _: Request<GetTokenAuthorityRequest>,
    ) -> Result<Response<GetTokenAuthorityResponse>, Status> {
        Err(not_ours())
    }

    async fn verify_token_authority(
        &self,
        _: Request<VerifyTokenAuthorityRequest>,
    ) -> Result<Response<VerifyTokenAuthorityResponse>, Status> {
        Err(not_ours())
    }
}

fn not_ours() -> Status {
    Status::unimplemented("the engine fetches tokens by itself")
}
