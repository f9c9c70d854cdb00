//! One AMQP connection: opens it, then moves frames both ways until either side ends it.

use std::sync::Arc;
use std::time::Duration;

use edgectl_hub::clock::{Alarm, Clock, within};
use edgectl_hub::gateway::Gateway;
use edgectl_wire::amqp::condition::{CONNECTION_FORCED, DECODE, ErrorCondition, RESOURCE_LIMIT};
use edgectl_wire::amqp::frame::{Frame, MIN_MAX_FRAME_SIZE};
use edgectl_wire::amqp::open::{Close, Open};
use edgectl_wire::amqp::performative::Performative;
use edgectl_wire::amqp::transfer::TRANSFER_OVERHEAD;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::conversation::Conversation;
use super::desk::Desk;
use super::opening::{MAX_FRAME_BYTES, Opened, Proof, open};
use crate::amqp::frames::{FrameError, FrameReader, FrameWriter};
use crate::listen::Certificate;

/// A client must have opened the connection within this time.
const OPEN_TIMEOUT: Duration = Duration::from_mins(1);
/// A client that is silent for this long is gone.
const IDLE_TIMEOUT: Duration = Duration::from_mins(4);
/// Bytes that may wait for a slow client; while there are more, nothing is read from it or sent to it.
const MAX_WAITING_BYTES: usize = 256 * 1024;
/// A client that does not take what it is sent for this long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// What a client asked before it left is done within this time, or not at all.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// The last frames must be out by then.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A hub, as a connection sees it.
#[derive(Clone)]
pub struct Hub {
    /// What it is to its clients.
    pub gateway: Arc<dyn Gateway>,
    /// What it is to services, if it is anything.
    pub desk: Option<Arc<dyn Desk>>,
}

impl Hub {
    /// A hub that is nothing to services.
    pub fn of_clients(gateway: Arc<dyn Gateway>) -> Self {
        Self { gateway, desk: None }
    }
}

/// Serves one connection to its end.
pub async fn serve<S>(stream: S, certificate: Certificate, hub: Hub, clock: Arc<dyn Clock>, shutdown: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (read, write) = tokio::io::split(stream);
    let mut reader = FrameReader::new(read, MAX_FRAME_BYTES as usize);
    let mut writer = FrameWriter::new(write);
    let opened = tokio::select! {
        () = shutdown.cancelled() => return,
        opened = within(clock.as_ref(), OPEN_TIMEOUT, open(&mut reader, &mut writer, &hub)) => opened,
    };
    let Opened { open, proof } = match opened {
        Some(Ok(opened)) => opened,
        Some(Err(error)) => {
            tracing::debug!(%error, "a connection did not open");
            return finish(&mut writer, clock.as_ref()).await;
        }
        None => return tracing::debug!("a connection took too long to open"),
    };
    let max_frame = open.max_frame_size.unwrap_or(u32::MAX).clamp(MIN_MAX_FRAME_SIZE, MAX_FRAME_BYTES);
    let mut conversation = Conversation::new(
        hub.gateway,
        hub.desk,
        Arc::clone(&clock),
        certificate,
        max_frame as usize - TRANSFER_OVERHEAD,
    );
    match proof {
        Some(Proof::Client(client)) => conversation.proved(client),
        Some(Proof::Service { until }) => conversation.service_proved(until),
        None => {}
    }
    let (now, alarm) = (clock.now(), Alarm::new(Arc::clone(&clock)));
    let heartbeat = heartbeat(&open);
    let mut connection = Connection { reader, writer, conversation, clock, alarm, heartbeat, heard: now, wrote: now };
    let ending = connection.run(&shutdown).await;
    connection.end(ending).await;
}

/// How often a client wants to hear something: twice in the time after which it would give up.
fn heartbeat(open: &Open) -> Option<Duration> {
    let time = open.idle_time_out.filter(|time| *time > 0)?;
    Some(Duration::from_millis(time.into()) / 2)
}

/// An open connection.
struct Connection<R, W> {
    reader: FrameReader<R>,
    writer: FrameWriter<W>,
    conversation: Conversation,
    clock: Arc<dyn Clock>,
    alarm: Alarm,
    heartbeat: Option<Duration>,
    /// When the client was heard of last.
    heard: Instant,
    /// When it took something last.
    wrote: Instant,
}

/// How a connection ends.
enum Ending {
    /// In order, as the client asked, or because something is wrong.
    Close(Option<ErrorCondition>),
    /// There is nobody to tell.
    Broken(&'static str),
}

/// What there is time for until then.
#[derive(Clone, Copy)]
enum Time {
    Drain,
    Write,
    Silence,
    Heartbeat,
    Expiry,
}

impl Time {
    /// What it means that the time is over.
    fn over(self) -> Event {
        match self {
            Self::Drain => Event::Ended(Ending::Broken("the hub did not finish in time")),
            Self::Write => Event::Ended(Ending::Broken("the client takes nothing")),
            Self::Silence => {
                Event::Ended(Ending::because(ErrorCondition::new(RESOURCE_LIMIT, "the client was silent for too long")))
            }
            Self::Heartbeat => Event::Heartbeat,
            Self::Expiry => Event::Expiry,
        }
    }
}

impl Ending {
    fn because(error: ErrorCondition) -> Self {
        Self::Close(Some(error))
    }
}

/// What the connection waited for.
enum Event {
    Wrote,
    Progress,
    Closings,
    Expiry,
    Heartbeat,
    Read(Result<Option<Frame>, FrameError>),
    Ended(Ending),
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Connection<R, W> {
    /// Reads on while the hub works, until either side ends it, and what the client asked before is done.
    async fn run(&mut self, shutdown: &CancellationToken) -> Ending {
        let mut ending: Option<(Ending, Instant)> = None;
        loop {
            for frame in self.conversation.take_frames() {
                self.put(&frame);
            }
            let until = match ending.take() {
                Some((ending, _)) if self.conversation.is_idle() => return ending,
                Some((stopped, until)) => {
                    ending = Some((stopped, until));
                    Some(until)
                }
                None => None,
            };
            let stopped = match self.next(until, shutdown).await {
                Event::Wrote => {
                    self.wrote = self.clock.now();
                    None
                }
                Event::Progress => None,
                Event::Closings => {
                    self.conversation.close_members();
                    None
                }
                Event::Expiry => {
                    self.conversation.expire();
                    None
                }
                Event::Heartbeat => {
                    self.put(&Frame::Empty);
                    None
                }
                Event::Read(read) => self.read(read).err(),
                Event::Ended(ending) => return ending,
            };
            if let Some(stopped) = stopped {
                ending = Some((stopped, self.clock.now() + DRAIN_TIMEOUT));
            }
        }
    }

    /// Waits for whatever comes next. Nothing more is read while the connection ends by then.
    async fn next(&mut self, until: Option<Instant>, shutdown: &CancellationToken) -> Event {
        let has_room = self.writer.waiting() < MAX_WAITING_BYTES;
        let reading = until.is_none() && has_room && self.conversation.has_room();
        if !reading {
            // It is not the client that is silent.
            self.heard = self.clock.now();
        }
        let is_done = self.writer.is_done();
        let times = [
            (until, Time::Drain),
            ((!is_done).then_some(self.wrote + WRITE_TIMEOUT), Time::Write),
            (reading.then_some(self.heard + IDLE_TIMEOUT), Time::Silence),
            (self.heartbeat.filter(|_| is_done).map(|time| self.wrote + time), Time::Heartbeat),
            (self.conversation.next_expiry(), Time::Expiry),
        ];
        let next = times.into_iter().filter_map(|(at, time)| Some((at?, time))).min_by_key(|(at, _)| *at);
        let closings = self.conversation.closings();
        tokio::select! {
            () = shutdown.cancelled() => {
                Event::Ended(Ending::because(ErrorCondition::new(CONNECTION_FORCED, "the hub is shutting down")))
            }
            time = self.alarm.wait(next) => time.over(),
            () = closings.wait() => Event::Closings,
            wrote = self.writer.write_some(), if !is_done => match wrote {
                Ok(()) => Event::Wrote,
                Err(_) => Event::Ended(Ending::Broken("the connection broke")),
            },
            () = self.conversation.progress(), if has_room => Event::Progress,
            read = self.reader.next(), if reading => Event::Read(read),
        }
    }

    /// Takes a frame, and those that were read with it.
    fn read(&mut self, first: Result<Option<Frame>, FrameError>) -> Result<(), Ending> {
        self.heard = self.clock.now();
        let mut next = first;
        loop {
            match next {
                Ok(Some(Frame::Amqp { performative: Performative::Close(_), .. })) => return Err(Ending::Close(None)),
                Ok(Some(Frame::Amqp { channel, performative, payload })) => {
                    self.conversation.received(channel, performative, payload).map_err(Ending::because)?;
                }
                Ok(Some(Frame::Empty)) => {}
                Ok(Some(Frame::Sasl(_))) => {
                    return Err(Ending::because(ErrorCondition::new(DECODE, "the security layer is done with")));
                }
                Ok(None) => return Err(Ending::Broken("the client closed it")),
                Err(FrameError::Amqp(error)) => {
                    return Err(Ending::because(ErrorCondition::new(DECODE, error.to_string())));
                }
                Err(FrameError::Io(_)) => return Err(Ending::Broken("the connection broke")),
            }
            if !self.conversation.has_room() {
                return Ok(());
            }
            next = match self.reader.buffered() {
                Ok(None) => return Ok(()),
                buffered => buffered,
            };
        }
    }

    fn put(&mut self, frame: &Frame) {
        if self.writer.is_done() {
            // From now on the client may take its time.
            self.wrote = self.clock.now();
        }
        self.writer.put(frame);
    }

    /// Tells the client why, if it is there to be told, and the hub that it is over.
    async fn end(mut self, ending: Ending) {
        match ending {
            Ending::Close(error) => {
                tracing::debug!(error = ?error.as_ref().map(|error| &error.condition), "a connection is closed");
                self.put(&Frame::of(0, Performative::Close(Close { error })));
                finish(&mut self.writer, self.clock.as_ref()).await;
            }
            Ending::Broken(reason) => tracing::debug!(reason, "a connection ended"),
        }
        self.conversation.end().await;
    }
}

/// Writes what is left and ends the stream, if the other side is still there to take it.
async fn finish<W: AsyncWrite + Unpin>(writer: &mut FrameWriter<W>, clock: &dyn Clock) {
    within(clock, CLOSE_TIMEOUT, async {
        writer.flush().await?;
        writer.close().await
    })
    .await;
}
