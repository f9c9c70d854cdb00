//! Router, store and delivery together, beside a model that knows nothing of how they work: whatever happens in whatever
//! order, each message goes where its routes say, in order, at least once, and nowhere else.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::time::Duration;

use edgectl_hub::gateway::{Destination, Feature, Settlement};
use edgectl_hub::message::{Message, system};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::tempdir;
use tokio::time::{Instant, sleep};

use super::device::{Device, texts};
use super::peer::{Given, Peer};

/// How long a message may wait for `in2`.
const TIME_TO_LIVE: Duration = Duration::from_mins(1);
/// In which everything that can happen by itself has happened.
const LONG: Duration = Duration::from_mins(20);
/// How often it is looked at what arrived, when time passes.
const TICK: Duration = Duration::from_secs(1);
/// In which what is on its way arrives.
const MOMENT: Duration = Duration::from_millis(150);

#[derive(Debug, Clone)]
enum Step {
    Send { output: char, level: u8 },
    Connect,
    Leave,
    Settle(Settlement),
    CutOff,
    Mend,
    Pass(Duration),
    Die,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (prop_oneof![Just('a'), Just('b')], 0..4_u8).prop_map(|(output, level)| Step::Send { output, level }),
        2 => Just(Step::Connect),
        1 => Just(Step::Leave),
        8 => Just(Step::Settle(Settlement::Complete)),
        1 => Just(Step::Settle(Settlement::Abandon)),
        1 => Just(Step::Settle(Settlement::Reject)),
        1 => Just(Step::CutOff),
        1 => Just(Step::Mend),
        2 => (0..90_u64).prop_map(|seconds| Step::Pass(Duration::from_secs(seconds))),
        1 => Just(Step::Die),
    ]
}

fn routes() -> Value {
    let into = |input: &str| format!("INTO BrokeredEndpoint(\"/modules/sink/inputs/{input}\")");
    json!({
        "up": "FROM /messages/modules/source/outputs/* WHERE level > '1' INTO $upstream",
        "alarm": { "route": format!("FROM /messages/* WHERE level = '3' {}", into("in1")), "priority": 0 },
        "a": { "route": format!("FROM /messages/modules/source/outputs/a {}", into("in1")), "priority": 5 },
        "b": {
            "route": format!("FROM /messages/modules/source/outputs/b {}", into("in2")),
            "timeToLiveSecs": TIME_TO_LIVE.as_secs(),
        },
    })
}

/// What happened to the messages, by number; what should have follows from these.
#[derive(Debug, Default)]
struct Model {
    /// Output, level, and when it was taken, of each message.
    sent: Vec<(char, u8, Duration)>,
    /// Handed over at an input, in order, as often as that happened.
    given: BTreeMap<String, Vec<u64>>,
    /// Settled for good at an input.
    settled: BTreeMap<String, BTreeSet<u64>>,
    /// Time that passed in earlier lives.
    passed: Duration,
    deaths: usize,
    /// Deliveries that were given back, or left behind.
    returned: usize,
}

impl Model {
    fn numbers(&self, wanted: impl Fn(char, u8) -> bool) -> Vec<u64> {
        let all = self.sent.iter().zip(0..);
        all.filter(|((output, level, _), _)| wanted(*output, *level)).map(|(_, number)| number).collect()
    }

    /// Output, level and time of a message.
    fn sent(&self, number: u64) -> (char, u8, Duration) {
        self.sent[usize::try_from(number).expect("a number of ours")]
    }

    fn check(&self, cloud: &[u64]) {
        assert_order(cloud);
        let up: BTreeSet<u64> = self.numbers(|_, level| level > 1).into_iter().collect();
        assert_eq!(cloud.iter().copied().collect::<BTreeSet<_>>(), up, "the cloud");
        assert!(self.deaths > 0 || cloud.len() == up.len(), "twice in the cloud: {cloud:?}");

        let nothing = (Vec::new(), BTreeSet::new());
        let of =
            |input: &str| (self.given.get(input).unwrap_or(&nothing.0), self.settled.get(input).unwrap_or(&nothing.1));
        let (given, settled) = of("in1");
        let (urgent, others): (Vec<_>, Vec<_>) = given.iter().copied().partition(|number| self.sent(*number).1 == 3);
        assert_order(&urgent);
        assert_order(&others);
        let wanted = self.numbers(|output, level| level == 3 || output == 'a');
        assert_eq!(settled.iter().copied().collect::<Vec<_>>(), wanted, "in1");
        let (given, settled) = of("in2");
        assert_order(given);
        let wanted: BTreeSet<u64> = self.numbers(|output, _| output == 'b').into_iter().collect();
        assert!(settled.is_subset(&wanted), "in2 got {settled:?} of {wanted:?}");
        if self.deaths == 0 && self.returned == 0 {
            for given in self.given.values() {
                assert_eq!(given.len(), given.iter().collect::<BTreeSet<_>>().len(), "twice: {given:?}");
            }
        }
    }
}

/// The number that a message's text is.
fn number(text: &str) -> u64 {
    text.parse().expect("a number")
}

/// A message that comes for the first time comes behind all that came before it.
fn assert_order(numbers: &[u64]) {
    let mut seen = BTreeSet::new();
    for number in numbers {
        assert!(seen.contains(number) || seen.last().is_none_or(|last| last < number), "out of order: {numbers:?}");
        seen.insert(*number);
    }
}

/// A device from one start to its end.
struct Life<'m> {
    device: Device,
    source: Peer,
    sink: Option<Peer>,
    waiting: VecDeque<Given>,
    begun: Instant,
    model: &'m mut Model,
}

impl<'m> Life<'m> {
    async fn begin(directory: &Path, model: &'m mut Model) -> Self {
        let device = if model.deaths == 0 {
            Device::start(directory, routes()).await
        } else {
            let device = Device::reopen(directory, true).await;
            // The clock goes on where it was.
            sleep(model.passed).await;
            device
        };
        assert_eq!(device.hub.status().refused, None);
        let source = device.connect("edge/source", &[]).await;
        Self { device, source, sink: None, waiting: VecDeque::new(), begun: Instant::now(), model }
    }

    fn now(&self) -> Duration {
        self.model.passed + self.begun.elapsed()
    }

    async fn take(&mut self, step: &Step) {
        match step {
            Step::Send { output, level } => {
                let mut message = Message::new(self.model.sent.len().to_string());
                message.system.set(system::OUTPUT_NAME, output.to_string());
                message.properties.set("level", level.to_string());
                self.source.send_message(message).await.expect("it is taken");
                self.model.sent.push((*output, *level, self.now()));
            }
            Step::Connect if self.sink.is_none() => {
                self.sink = Some(self.device.connect("edge/sink", &[Feature::Inputs]).await);
            }
            Step::Leave => {
                if let Some(sink) = self.sink.take() {
                    self.model.returned += 1;
                    self.waiting.clear();
                    sink.leave().await;
                }
            }
            Step::Settle(settlement) => self.settle(*settlement).await,
            Step::CutOff => self.device.way.interrupt().await,
            Step::Mend => self.device.way.mend().await,
            Step::Pass(time) => {
                let end = self.now() + *time;
                while self.now() < end {
                    sleep(TICK).await;
                    self.listen().await;
                }
            }
            Step::Connect | Step::Die => {}
        }
        self.listen().await;
    }

    /// Receives what is on its way.
    async fn listen(&mut self) {
        sleep(MOMENT).await;
        let now = self.now();
        let Some(sink) = &mut self.sink else { return };
        while !sink.is_left_alone() {
            let given = sink.given().await;
            let number = number(&given.text());
            let Destination::Input(input) = &given.delivery.destination else { panic!("not for an input") };
            let (output, level, sent) = self.model.sent(number);
            match &**input {
                "in1" => assert!(level == 3 || output == 'a', "{number} does not belong to in1"),
                "in2" => {
                    assert_eq!(output, 'b', "{number} does not belong to in2");
                    assert!(now <= sent + TIME_TO_LIVE + TICK + MOMENT, "{number} had expired");
                }
                other => panic!("there is no input {other}"),
            }
            // What waited for too long is handed over again, and how it was settled before is of no interest.
            let is_same = |other: &Given| {
                other.text() == given.text() && other.delivery.destination == given.delivery.destination
            };
            let before = self.waiting.len();
            self.waiting.retain(|other| !is_same(other));
            self.model.returned += before - self.waiting.len();
            self.model.given.entry(input.to_string()).or_default().push(number);
            self.waiting.push_back(given);
        }
    }

    /// Settles the oldest message that waits.
    async fn settle(&mut self, settlement: Settlement) {
        let Some(given) = self.waiting.pop_front() else { return };
        let number = number(&given.text());
        let Destination::Input(input) = &given.delivery.destination else { return };
        let input = input.to_string();
        if settlement == Settlement::Abandon {
            self.model.returned += 1;
            // All behind it come again, too.
            self.waiting.retain(|other| other.delivery.destination != given.delivery.destination);
        } else {
            self.model.settled.entry(input).or_default().insert(number);
        }
        given.settle(settlement);
        sleep(MOMENT).await;
    }

    /// Lets everything arrive, and looks at what did.
    async fn end(mut self) {
        self.take(&Step::Mend).await;
        self.take(&Step::Connect).await;
        let mut quiet_since = Instant::now();
        while quiet_since.elapsed() < LONG {
            if self.waiting.is_empty() {
                sleep(Duration::from_secs(10)).await;
            } else {
                quiet_since = Instant::now();
                self.settle(Settlement::Complete).await;
            }
            self.listen().await;
        }
        let left = self.device.hub.status().queues;
        assert!(left.is_empty(), "{left:?}");
        let events = self.device.received(0).await;
        let cloud: Vec<u64> = texts(&events).iter().map(|text| number(text)).collect();
        self.model.check(&cloud);
    }
}

/// Runs one life until it ends abruptly, or after all steps.
fn live(directory: &Path, model: &mut Model, steps: &[Step], is_last: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let mut life = Life::begin(directory, model).await;
        for step in steps {
            life.take(step).await;
        }
        if is_last {
            return life.end().await;
        }
        life.model.passed = life.now();
        life.model.deaths += 1;
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_message_goes_where_its_routes_say(steps in prop::collection::vec(step(), 1..60)) {
        let directory = tempdir().unwrap();
        let mut model = Model::default();
        let lives: Vec<&[Step]> = steps.split(|step| matches!(step, Step::Die)).collect();
        for (index, life) in lives.iter().enumerate() {
            live(directory.path(), &mut model, life, index + 1 == lives.len());
        }
    }
}
