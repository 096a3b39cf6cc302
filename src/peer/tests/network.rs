// SPDX-License-Identifier: MPL-2.0
//! Calls over a network that loses and delays.

use std::net::SocketAddr;

use impaired_link::{Config, Link};
use tokio::net::UdpSocket;

use super::*;

/// The port of the first candidate in `description`.
fn port(description: &str) -> u16 {
    let line = description
        .lines()
        .find(|line| line.starts_with("a=candidate:"))
        .unwrap();
    line.split(' ').nth(5).unwrap().parse().unwrap()
}

/// Stands between two peers: `there` carries what comes from the offerer.
struct Proxy {
    there: u16,
    back: u16,
}

impl Proxy {
    async fn new() -> (Self, [Arc<UdpSocket>; 2]) {
        let bind = || async { Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap()) };
        let sockets = [bind().await, bind().await];
        let port = |socket: &UdpSocket| socket.local_addr().unwrap().port();
        (
            Self {
                there: port(&sockets[0]),
                back: port(&sockets[1]),
            },
            sockets,
        )
    }
}

/// Passes datagrams from `from` to `port` through `to`; of the media, `loss` percent are lost. The
/// start is spared: no receiver can know what came before the first packet it got.
async fn pass(from: Arc<UdpSocket>, to: Arc<UdpSocket>, port: u16, delay: Duration, loss: u32) {
    let target = SocketAddr::from(([127, 0, 0, 1], port));
    let start = Instant::now();
    let link = |loss| format!("delay={}ms loss={loss}%", delay.as_millis());
    let mut calm = Link::new(link(0).parse::<Config>().unwrap(), 0);
    let mut lossy = Link::new(link(loss).parse::<Config>().unwrap(), port.into());
    let mut buffer = vec![0; 65536];
    let mut media = 0;
    while let Ok((size, _)) = from.recv_from(&mut buffer).await {
        media += u32::from(buffer[0] >= 128);
        let lossy_now = buffer[0] >= 128 && media > 50;
        let link = if lossy_now { &mut lossy } else { &mut calm };
        for at in link.send(start.elapsed(), size).arrivals() {
            let (to, datagram) = (to.clone(), buffer[..size].to_vec());
            tokio::spawn(async move {
                tokio::time::sleep_until((start + at).into()).await;
                let _ = to.send_to(&datagram, target).await;
            });
        }
    }
}

async fn lossy_call(delay: Duration, loss: u32) -> Call {
    let mut call = Call {
        sender: End::new(Direction::SendOnly),
        receiver: End::new(Direction::RecvOnly),
        ufrags: Default::default(),
    };
    let (proxy, [there, back]) = Proxy::new().await;
    let offer = call.sender.offer().await;
    let sender = port(&offer);
    let offer = offer.replace(&format!(" {sender} typ"), &format!(" {} typ", proxy.back));
    let answer = call.receiver.answer(offer).await;
    let receiver = port(&answer);
    let answer = answer.replace(
        &format!(" {receiver} typ"),
        &format!(" {} typ", proxy.there),
    );
    tokio::spawn(pass(there.clone(), back.clone(), receiver, delay, loss));
    tokio::spawn(pass(back, there, sender, delay, loss));
    call.sender.peer.set_send_codec(0, vp8());
    call.sender.set_answer(answer).await;
    call.sender.connected().await;
    call
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn losses_are_repaired_without_duplicates() {
    for delay in [Duration::ZERO, Duration::from_millis(40)] {
        let call = lossy_call(delay, 10).await;
        let reader = tokio::spawn(read(call.receiver.peer.inbound(0).unwrap(), 5000));
        for burst in 0..1000 {
            assert!(call.sender.peer.push_frame(0, frame(burst * 5, 5, 1000)));
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
        // The last packet may be the lost one: nobody but the sender can know.
        let start = Instant::now();
        tokio::time::timeout(DEADLINE, call.sender.peer.drained())
            .await
            .unwrap();
        println!("drained in {:?}", start.elapsed());
        let packets = reader.await.unwrap();
        let (sent, received) = (call.sender.peer.stats(0), call.receiver.peer.stats(0));
        let mut numbers: Vec<u32> = packets.iter().map(number).collect();
        numbers.sort_unstable();
        let missing: Vec<u32> = (0..5000)
            .filter(|n| numbers.binary_search(n).is_err())
            .collect();
        assert_eq!(
            numbers.len() + missing.len(),
            5000,
            "{} came",
            packets.len()
        );
        assert!(missing.is_empty(), "{missing:?}");
        assert_eq!(received.packets_lost, 0);
        assert!(sent.retransmitted_packets_sent < 2000, "{sent:?}");
        call.close().await;
    }
}
