//! Load for the edge hub, beside mosquitto in the same run. `docs/performance.md` says how to read the figures.

/// As in the product.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod condition;
mod hub;
mod load;
mod mqtt;
mod server;
mod tls;

use std::path::PathBuf;

use load::Shape;
use server::{Kind, Server};

const USAGE: &str = "usage: edgectl-hub-bench [ROUNDS] [throughput|latency|…]";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "serve") {
        let [_, port, directory, sinks, durability, tls] = &arguments[..] else { panic!("{USAGE}") };
        return hub::run(hub::Options {
            port: port.parse().unwrap(),
            tls: tls == "true",
            sinks: sinks.parse().unwrap(),
            directory: PathBuf::from(directory),
            durability: durability.clone(),
        });
    }
    let folder = std::env::temp_dir().join(format!("edgectl-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    tls::make(&folder);
    let rounds = arguments.iter().find_map(|word| word.parse().ok()).unwrap_or(5);
    let bench =
        Bench { folder, rounds, only: arguments.into_iter().filter(|word| word.parse::<u32>().is_err()).collect() };
    bench.throughput();
    bench.latency();
    bench.store();
    bench.power();
    bench.isolation();
    bench.restart();
    bench.idle();
    bench.conditions();
    let _ = std::fs::remove_dir_all(&bench.folder);
}

struct Bench {
    folder: PathBuf,
    rounds: usize,
    only: Vec<String>,
}

impl Bench {
    fn wants(&self, what: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|word| what.contains(word.as_str()))
    }

    fn server(&self, kind: Kind, tls: bool, sinks: usize) -> Server {
        Server::start(kind, tls, sinks, &self.folder.join("server"))
    }

    fn throughput(&self) {
        let shapes = [
            ("1→1", false, Shape { publishers: 1, subscribers: 1, messages: 400_000, window: 100, size: 1024 }),
            ("1→1 TLS 1.3", true, Shape { publishers: 1, subscribers: 1, messages: 300_000, window: 100, size: 1024 }),
            ("10→1", false, Shape { publishers: 10, subscribers: 1, messages: 40_000, window: 20, size: 1024 }),
            ("1→10", false, Shape { publishers: 1, subscribers: 10, messages: 60_000, window: 100, size: 1024 }),
        ];
        for (name, tls, shape) in shapes {
            if !self.wants(&format!("throughput {name}")) {
                continue;
            }
            let (mut ratios, mut cpu_ratios, mut rates, mut cpus) = (vec![], vec![], vec![], vec![]);
            for _ in 0..self.rounds {
                let ours = load::run(&self.server(Kind::Hub("process"), tls, shape.subscribers), shape);
                let fewer = Shape { messages: shape.messages / 6, ..shape };
                let theirs = load::run(&self.server(Kind::Mosquitto, tls, shape.subscribers), fewer);
                ratios.push(ours.rate / theirs.rate);
                cpu_ratios.push(ours.cpu / theirs.cpu);
                rates.push(ours.rate);
                cpus.push(ours.cpu);
            }
            println!(
                "| {name} | {} × | {} × CPU | {} /s | {} s/100k |",
                median(ratios, 1.0),
                median(cpu_ratios, 1.0),
                median(rates, 1.0),
                median(cpus, 1.0)
            );
        }
    }

    fn latency(&self) {
        for (name, tls) in [("plain", false), ("TLS 1.3", true)] {
            if !self.wants(&format!("latency {name}")) {
                continue;
            }
            let (mut ratios, mut own) = (vec![], vec![]);
            for _ in 0..self.rounds {
                let ours = load::ping_pong(&self.server(Kind::Hub("process"), tls, 1), 20_000).0.as_secs_f64();
                let theirs = load::ping_pong(&self.server(Kind::Mosquitto, tls, 1), 20_000).0.as_secs_f64();
                ratios.push(ours / theirs);
                own.push(ours);
            }
            println!("| latency {name} | {} × | {} µs |", median(ratios, 1.0), median(own, 1e6));
        }
    }
}

impl Bench {
    fn store(&self) {
        if !self.wants("store") {
            return;
        }
        let (mut stores, mut drains, mut own_stores, mut own_drains) = (vec![], vec![], vec![], vec![]);
        for _ in 0..self.rounds {
            let ours = load::store_and_drain(&self.server(Kind::Hub("process"), false, 1), 200_000);
            let theirs = load::store_and_drain(&self.server(Kind::MosquittoAutosave, false, 1), 200_000);
            stores.push(ours.0 / theirs.0);
            drains.push(ours.1 / theirs.1);
            own_stores.push(ours.0);
            own_drains.push(ours.1);
        }
        println!("| store while the receiver is away | {} × | {} /s |", median(stores, 1.0), median(own_stores, 1.0));
        println!("| drain | {} × | {} /s |", median(drains, 1.0), median(own_drains, 1.0));
    }

    fn power(&self) {
        if !self.wants("power") {
            return;
        }
        let (messages, window) = (30_000, 100);
        let (mut ratios, mut own) = (vec![], vec![]);
        for _ in 0..self.rounds {
            let server = self.server(Kind::Hub("power"), false, 1);
            let ours = load::publishing(server.client("pub0"), messages, window);
            let floor = load::appending_and_syncing(&self.folder, messages, window);
            ratios.push(ours / floor);
            own.push(ours);
        }
        println!("| power, beside appending and syncing | {} × | {} /s |", median(ratios, 1.0), median(own, 1.0));
    }

    fn isolation(&self) {
        if !self.wants("isolation") {
            return;
        }
        let (mut ratios, mut memory) = (vec![], vec![]);
        for _ in 0..self.rounds {
            let shape = Shape { publishers: 1, subscribers: 2, messages: 100_000, window: 100, size: 1024 };
            let both = load::run(&self.server(Kind::Hub("process"), false, 2), shape);
            let (beside, kib) =
                load::beside_a_stopped_one(&self.server(Kind::Hub("process"), false, 2), shape.messages);
            ratios.push(beside.rate / (both.rate / 2.0));
            memory.push(kib as f64 / 1024.0);
        }
        println!(
            "| beside a stopped receiver | {} × of beside one that takes | {} MiB over idle |",
            median(ratios, 1.0),
            median(memory, 1.0)
        );
    }

    fn restart(&self) {
        if !self.wants("restart") {
            return;
        }
        for messages in [1000, 1_000_000] {
            let mut server = self.server(Kind::Hub("process"), false, 1);
            load::publish(server.client("pub0"), 0, 0, messages, 100, 1024);
            let samples = (0..self.rounds)
                .map(|_| {
                    server.kill();
                    server.resume().as_secs_f64()
                })
                .collect();
            println!("| ready again with {messages} stored | {} ms |", median(samples, 1e3));
        }
    }

    fn idle(&self) {
        if !self.wants("idle") {
            return;
        }
        for (name, tls) in [("plain", false), ("TLS 1.3", true)] {
            let server = self.server(Kind::Hub("process"), tls, 1);
            let start = server.memory().0 as f64 / 1024.0;
            let count = 10_000;
            println!("| idle {name} | {start:.1} MiB | {:.1} KiB a client |", load::idle_clients(&server, count));
        }
    }

    fn conditions(&self) {
        let template = mqtt::Template::new(0, 1024);
        for routes in [1, 100] {
            if self.wants("condition") {
                let samples = (0..self.rounds).map(|_| condition::nanoseconds(routes, template.payload())).collect();
                println!("| {routes} conditions on a body of 1 KiB | {} ns |", median(samples, 1.0));
            }
        }
    }
}

/// Median with minimum and maximum.
fn median(mut samples: Vec<f64>, unit: f64) -> String {
    samples.sort_by(f64::total_cmp);
    let show = |value: f64| {
        if value * unit >= 100.0 { format!("{:.0}", value * unit) } else { format!("{:.2}", value * unit) }
    };
    format!("{} [{}..{}]", show(samples[samples.len() / 2]), show(samples[0]), show(samples[samples.len() - 1]))
}
