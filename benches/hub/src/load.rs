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

/// Stores messages for a subscriber that is away, and then drains them: messages in a second.
pub fn store_and_drain(server: &Server, messages: u64) -> (f64, f64) {
    let mut away = server.persistent_client("sub0");
    away.subscribe(&server.filter(0)).unwrap();
    drop(away);
    let begin = Instant::now();
    publish(server.client("pub0"), 0, 0, messages, 100, 1024);
    let stored = begin.elapsed();
    let begin = Instant::now();
    receive(server.persistent_client("sub0"), 1, messages);
    (messages as f64 / stored.as_secs_f64(), messages as f64 / begin.elapsed().as_secs_f64())
}

/// Messages in a second that a publisher gets acknowledged.
pub fn publishing(client: Client, messages: u64, window: u64) -> f64 {
    let begin = Instant::now();
    publish(client, 0, 0, messages, window, 1024);
    messages as f64 / begin.elapsed().as_secs_f64()
}

/// The same from a bare loop in place of a server: it reads what is there, appends it to a file, syncs, and acknowledges.
pub fn appending_and_syncing(folder: &std::path::Path, messages: u64, window: u64) -> f64 {
    use std::io::{Read as _, Write as _};
    let path = folder.join("floor");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut file = std::fs::File::create(&path).unwrap();
    let rate = thread::scope(|scope| {
        scope.spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            let length = Template::new(0, 1024).bytes.len();
            let mut buffer = vec![0; 256 * 1024];
            let _connect = stream.read(&mut buffer).unwrap();
            stream.write_all(&[0x20, 2, 0, 0]).unwrap();
            let mut filled = 0;
            loop {
                let read = stream.read(&mut buffer[filled..]).unwrap();
                if read == 0 {
                    return;
                }
                filled += read;
                let whole = filled / length;
                if whole > 0 {
                    file.write_all(&buffer[..whole * length]).unwrap();
                    file.sync_data().unwrap();
                    stream.write_all(&[0x40, 2, 0, 1].repeat(whole)).unwrap();
                    buffer.copy_within(whole * length..filled, 0);
                    filled -= whole * length;
                }
            }
        });
        let stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        publishing(Client::connect(Box::new(stream), "pub0", true).unwrap(), messages, window)
    });
    let _ = std::fs::remove_file(path);
    rate
}

/// A load to one subscriber while another one, with a route of its own, is connected and takes nothing. Returns the
/// figures, and KiB of memory over what the server had before.
pub fn beside_a_stopped_one(server: &Server, messages: u64) -> (Figures, u64) {
    let before = server.memory().0;
    let mut stopped = server.client("sub1");
    stopped.subscribe(&server.filter(1)).unwrap();
    let mut subscriber = server.client("sub0");
    subscriber.subscribe(&server.filter(0)).unwrap();
    let publisher = server.client("pub0");
    let cpu = server.cpu();
    let begin = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| publish(publisher, 0, 0, messages, 100, 1024));
        scope.spawn(|| receive(subscriber, 1, messages));
    });
    let rate = messages as f64 / begin.elapsed().as_secs_f64();
    let figures = Figures { rate, cpu: (server.cpu() - cpu) * 100_000.0 / messages as f64 };
    (figures, server.memory().1.saturating_sub(before))
}

/// Connects clients that say nothing: KiB of the server's memory for each.
pub fn idle_clients(server: &Server, count: usize) -> f64 {
    let warm: Vec<Client> = (0..20).map(|number| server.client(&format!("warm{number}"))).collect();
    thread::sleep(Duration::from_millis(300));
    let before = server.memory().0;
    let clients: Vec<Client> = (0..count).map(|number| server.client(&format!("idle{number}"))).collect();
    // What the handshakes needed is given back within ten seconds or so, while others come and go.
    for number in 0..30 {
        thread::sleep(Duration::from_millis(500));
        drop(server.client(&format!("guest{number}")));
    }
    let memory = (server.memory().0 - before) as f64 / count as f64;
    drop((warm, clients));
    memory
}
