use super::*;

/// A link with the hub's end of one connection.
fn connected(conditions: Conditions) -> (Link, DuplexStream, DuplexStream) {
    let link = Link::new(7, Arc::new(SystemClock));
    link.set(conditions);
    let (hub, far) = tokio::io::duplex(WINDOW_BYTES);
    let device = link.carry(far);
    (link, device, hub)
}

fn up(faults: Faults) -> Conditions {
    Conditions { up: faults, ..Conditions::default() }
}

async fn read(stream: &mut DuplexStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test(start_paused = true)]
async fn without_faults_bytes_pass_both_ways_at_once() {
    let (_link, mut device, mut hub) = connected(Conditions::default());
    let begin = Instant::now();
    device.write_all(b"up").await.unwrap();
    hub.write_all(b"down").await.unwrap();
    assert_eq!(read(&mut hub, 2).await, b"up");
    assert_eq!(read(&mut device, 4).await, b"down");
    assert_eq!(begin.elapsed(), Duration::ZERO);
    drop(device);
    assert_eq!(hub.read(&mut [0; 1]).await.unwrap(), 0, "an end is an end on the other side");
}

#[tokio::test(start_paused = true)]
async fn latency_is_for_one_direction_and_does_not_add_up() {
    let (_link, mut device, mut hub) = connected(up(Faults { latency_ms: 3_600_000, ..Faults::default() }));
    let begin = Instant::now();
    for piece in [b"a", b"b", b"c"] {
        device.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    hub.write_all(b"x").await.unwrap();
    assert_eq!(read(&mut device, 1).await, b"x");
    assert_eq!(begin.elapsed(), Duration::ZERO);
    assert_eq!(read(&mut hub, 3).await, b"abc");
    assert!(begin.elapsed() < Duration::from_secs(3_601));
    assert!(begin.elapsed() >= Duration::from_hours(1));
}

#[tokio::test(start_paused = true)]
async fn bandwidth_is_bits_in_a_second() {
    let (_link, mut device, mut hub) = connected(up(Faults { bandwidth: Some(8_000), ..Faults::default() }));
    let begin = Instant::now();
    let sent = tokio::spawn(async move { device.write_all(&vec![7; 30_000]).await.map(|()| device) });
    assert_eq!(read(&mut hub, 30_000).await, vec![7; 30_000]);
    let took = begin.elapsed().as_secs_f64();
    assert!((29.9..30.2).contains(&took), "{took} s for 30,000 bytes at 1,000 bytes a second");
    sent.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn all_connections_share_a_directions_bandwidth_and_take_turns() {
    let faults = Faults { bandwidth: Some(8_000), ..Faults::default() };
    let (link, mut first, mut hub_of_first) = connected(Conditions { up: faults.clone(), down: faults, online: true });
    let (mut hub_of_second, far) = tokio::io::duplex(WINDOW_BYTES);
    let mut second = link.carry(far);
    let begin = Instant::now();
    let seconds = || begin.elapsed().as_secs();
    let sent = tokio::spawn(async move { first.write_all(&vec![7; 100_000]).await.map(|()| first) });
    tokio::task::yield_now().await;
    second.write_all(&[1; 1_000]).await.unwrap();
    hub_of_second.write_all(&[2; 1_000]).await.unwrap();
    read(&mut second, 1_000).await;
    assert_eq!(seconds(), 1, "the other direction is free");
    read(&mut hub_of_second, 1_000).await;
    assert!((2..40).contains(&seconds()), "it waits for its turn and not for all the rest: {} s", seconds());
    read(&mut hub_of_first, 100_000).await;
    assert_eq!(seconds(), 101, "both have gone over the same wire");
    sent.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn jitter_and_loss_delay_and_never_reorder_or_lose() {
    let faults = Faults { latency_ms: 50, jitter_ms: 40, loss: 0.3, ..Faults::default() };
    let (_link, mut device, mut hub) = connected(up(faults));
    let writer = tokio::spawn(async move {
        for number in 0..500_u16 {
            device.write_all(&number.to_be_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        device
    });
    let begin = Instant::now();
    let bytes = read(&mut hub, 1000).await;
    let numbers: Vec<u16> = bytes.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
    assert_eq!(numbers, (0..500).collect::<Vec<_>>());
    assert!(begin.elapsed() > Duration::from_millis(2_500), "some pieces had to be sent again");
    writer.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_half_open_link_swallows_until_it_is_mended() {
    let (link, mut device, mut hub) = connected(up(Faults { half_open: true, ..Faults::default() }));
    device.write_all(b"lost?").await.unwrap();
    hub.write_all(b"down").await.unwrap();
    assert_eq!(read(&mut device, 4).await, b"down");
    let silence = tokio::time::timeout(Duration::from_hours(2), hub.read(&mut [0; 5])).await;
    assert!(silence.is_err());
    link.set(Conditions::default());
    assert_eq!(read(&mut hub, 5).await, b"lost?");
}

#[tokio::test(start_paused = true)]
async fn without_a_network_connections_end_and_none_can_be_made() {
    let (link, mut device, mut hub) = connected(Conditions::default());
    link.set(Conditions { online: false, ..Conditions::default() });
    assert_eq!(device.read(&mut [0; 1]).await.unwrap(), 0);
    assert_eq!(hub.read(&mut [0; 1]).await.unwrap(), 0);
    let refused = link.connect(SocketAddr::from(([127, 0, 0, 1], 9))).await;
    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::NetworkUnreachable);
    link.set(Conditions::default());
    assert!(link.pass().await.is_ok());
}
