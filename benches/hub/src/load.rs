//! Load: publishers that keep so many messages unacknowledged, subscribers that acknowledge and check what they get.

use std::thread;
use std::time::{Duration, Instant};

use crate::mqtt::{Client, Template, arrived};
use crate::server::Server;

/// Who sends how much to whom.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub publishers: usize,
    pub subscribers: usize,
    /// Messages of each publisher.
    pub messages: u64,
    /// Unacknowledged messages of each publisher.
    pub window: u64,
    /// Bytes of a payload.
    pub size: usize,
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// Deliveries in a second.
    pub rate: f64,
    /// Seconds of the server's CPU for 100,000 deliveries.
    pub cpu: f64,
}

/// Runs a load to its end: every subscriber has every message, in order.
pub fn run(server: &Server, shape: Shape) -> Figures {
    let subscribers: Vec<Client> = (0..shape.subscribers)
        .map(|sink| {
            let mut client = server.client(&format!("sub{sink}"));
            client.subscribe(&server.filter(sink)).unwrap();
            client
        })
        .collect();
    let publishers: Vec<Client> = (0..shape.publishers).map(|number| server.client(&format!("pub{number}"))).collect();
    let cpu = server.cpu();
    let begin = Instant::now();
    thread::scope(|scope| {
        for (number, client) in publishers.into_iter().enumerate() {
            scope.spawn(move || publish(client, number, 0, shape.messages, shape.window, shape.size));
        }
        for client in subscribers {
            scope.spawn(move || receive(client, shape.publishers, shape.messages));
        }
    });
    let elapsed = begin.elapsed();
    let deliveries = (shape.publishers as u64 * shape.messages * shape.subscribers as u64) as f64;
    Figures { rate: deliveries / elapsed.as_secs_f64(), cpu: (server.cpu() - cpu) * 100_000.0 / deliveries }
}

/// Publishes messages with consecutive numbers; returns when all are acknowledged.
pub fn publish(mut client: Client, publisher: usize, from: u64, messages: u64, window: u64, size: usize) {
    let mut template = Template::new(publisher, size);
    let (mut sent, mut acknowledged) = (0, 0);
    let mut out = Vec::new();
    while acknowledged < messages {
        out.clear();
        while sent < messages && sent - acknowledged < window {
            template.put(from + sent, &mut out);
            sent += 1;
        }
        if !out.is_empty() {
            client.send(&out).unwrap();
        }
        client
            .drain(|packet| {
                assert_eq!(packet.first, 0x40, "no PUBACK");
                acknowledged += 1;
            })
            .unwrap();
    }
}

/// Receives and acknowledges the messages of all publishers, each in order, none missing.
pub fn receive(mut client: Client, publishers: usize, messages: u64) {
    let mut next = vec![0; publishers];
    let mut left = publishers as u64 * messages;
    let mut out = Vec::new();
    while left > 0 {
        out.clear();
        client
            .drain(|packet| {
                let (acknowledgement, publisher, number) = arrived(&packet);
                assert_eq!(number, next[publisher], "publisher {publisher}");
                next[publisher] += 1;
                left -= 1;
                out.extend(acknowledgement);
            })
            .unwrap();
        client.send(&out).unwrap();
    }
}

/// One message at a time from a publisher to a subscriber: the median and the 99th percentile of the way.
pub fn ping_pong(server: &Server, rounds: usize) -> (Duration, Duration) {
    let mut subscriber = server.client("sub0");
    subscriber.subscribe(&server.filter(0)).unwrap();
    let mut publisher = server.client("pub0");
    let mut template = Template::new(0, 1024);
    let mut times = Vec::with_capacity(rounds);
    let mut out = Vec::new();
    for number in 0..rounds {
        out.clear();
        template.put(number as u64, &mut out);
        let begin = Instant::now();
        publisher.send(&out).unwrap();
        let acknowledgement = subscriber.next(|packet| arrived(&packet).0).unwrap();
        times.push(begin.elapsed());
        subscriber.send(&acknowledgement).unwrap();
        publisher.next(|packet| assert_eq!(packet.first, 0x40)).unwrap();
    }
    times.sort_unstable();
    (times[rounds / 2], times[rounds * 99 / 100])
}
