//! Lanes against services that say exactly what they are told to say.

use std::sync::atomic::{AtomicUsize, Ordering};

use azure_core::http::Url;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::transport;

/// A service that does with each connection, of which the number is given, what `script` says.
async fn service<F: Future<Output = ()> + Send + 'static>(
    script: impl Fn(usize, TcpStream) -> F + Send + 'static,
) -> (Url, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/a/b", listener.local_addr().unwrap())).unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        let mut tasks = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let number = counted.fetch_add(1, Ordering::SeqCst);
            tasks.spawn(script(number, stream));
        }
    });
    (url, connections)
}

/// Reads a request up to the end of its head.
async fn head_of(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

fn lanes() -> Lanes {
    patient_for(Duration::from_secs(20))
}

fn patient_for(patience: Duration) -> Lanes {
    Lanes::new(transport::general_client(1, patience).unwrap(), 8, patience).unwrap()
}

fn get(url: &Url) -> Request {
    let mut request = Request::new(url.clone(), Method::Get);
    request.insert_header("x-ms-range-get-content-crc64", "true");
    request
}

fn put(url: &Url, bytes: usize) -> Request {
    let mut url = url.clone();
    url.set_query(Some("comp=page"));
    let mut request = Request::new(url, Method::Put);
    request.set_body(vec![7; bytes]);
    request
}

async fn said(lanes: &Lanes, request: &Request) -> azure_core::Result<(u16, Vec<azure_core::Bytes>)> {
    use futures::TryStreamExt as _;
    let (status, _, body) = lanes.execute_request(request).await?.deconstruct();
    Ok((status.into(), body.try_collect().await?))
}

#[tokio::test]
async fn pages_arrive_in_one_piece_and_the_lane_serves_again() {
    let (url, connections) = service(|_, mut stream| async move {
        loop {
            head_of(&mut stream).await;
            stream.write_all(b"HTTP/1.1 206 Partial Content\r\nContent-Length: 2000000\r\n\r\n").await.unwrap();
            stream.write_all(&vec![5; 2_000_000]).await.unwrap();
        }
    })
    .await;
    let lanes = lanes();
    let mut places = Vec::new();
    for _ in 0..3 {
        let (status, pieces) = said(&lanes, &get(&url)).await.unwrap();
        assert_eq!((status, pieces.len(), pieces[0].len()), (206, 1, 2_000_000));
        assert!(pieces[0].iter().all(|byte| *byte == 5));
        places.push(pieces[0].as_ptr());
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    assert!(places.windows(2).all(|pair| pair[0] == pair[1]), "a buffer is used again");
}

#[tokio::test]
async fn an_answer_in_chunks_is_understood_wherever_it_is_cut() {
    let answer: &[u8] =
        b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nWiki\r\n6\r\npedia \r\n0\r\nX: y\r\n\r\n";
    let (url, connections) = service(move |_, mut stream| async move {
        for cut in 1..answer.len() {
            head_of(&mut stream).await;
            let mut body = [0; 512];
            stream.read_exact(&mut body).await.unwrap();
            stream.write_all(&answer[..cut]).await.unwrap();
            tokio::task::yield_now().await;
            stream.write_all(&answer[cut..]).await.unwrap();
        }
    })
    .await;
    let lanes = lanes();
    for cut in 1..answer.len() {
        let (status, pieces) = said(&lanes, &put(&url, 512)).await.unwrap();
        assert_eq!((status, pieces.concat().as_slice()), (201, b"Wikipedia ".as_slice()), "{cut}");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_refusal_is_heard_while_the_body_is_still_being_sent() {
    let refusal = b"HTTP/1.1 412 Precondition Failed\r\nContent-Length: 2\r\n\r\nno";
    for closes in [false, true] {
        let (url, connections) = service(move |number, mut stream| async move {
            head_of(&mut stream).await;
            stream.write_all(refusal).await.unwrap();
            if number == 0 && !closes {
                // It reads no more, and says no more.
                tokio::time::sleep(Duration::from_secs(60)).await;
            }
        })
        .await;
        let lanes = lanes();
        let (status, pieces) = said(&lanes, &put(&url, 32 << 20)).await.unwrap();
        assert_eq!((status, pieces.concat().as_slice()), (412, b"no".as_slice()));
        said(&lanes, &put(&url, 0)).await.unwrap();
        assert_eq!(connections.load(Ordering::SeqCst), 2, "a body that was not sent is still on the first lane");
    }
}

#[tokio::test]
async fn nothing_is_granted_before_it_was_asked_for() {
    let (url, _) = service(|_, mut stream| async move {
        head_of(&mut stream).await;
        stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        tokio::time::sleep(Duration::from_millis(400)).await;
    })
    .await;
    let error = said(&lanes(), &put(&url, 32 << 20)).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Io, "{error}");
}

#[tokio::test]
async fn a_lane_that_was_closed_or_talks_out_of_turn_is_not_used_again() {
    for after in ["", "HTTP/1.1 200 OK\r\n\r\n"] {
        let (url, connections) = service(move |_, mut stream| async move {
            head_of(&mut stream).await;
            stream.write_all(b"HTTP/1.1 206 Partial Content\r\nContent-Length: 3\r\n\r\nabc").await.unwrap();
            stream.flush().await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
            stream.write_all(after.as_bytes()).await.unwrap();
            if !after.is_empty() {
                tokio::time::sleep(Duration::from_secs(60)).await;
            }
        })
        .await;
        let lanes = lanes();
        for _ in 0..3 {
            assert_eq!(said(&lanes, &get(&url)).await.unwrap().1.concat(), b"abc");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        assert_eq!(connections.load(Ordering::SeqCst), 3, "{after:?}");
    }
}

#[tokio::test]
async fn what_ends_early_or_stands_still_is_broken() {
    for (answer, stays) in [
        ("HTTP/1.1 206 Partial Content\r\nContent-Length: 10\r\n\r\nabc", false),
        ("HTTP/1.1 206 Partial Content\r\nContent-Length: 10\r\n\r\nabc", true),
        ("HTTP/1.1 206 Partial Content\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabc", false),
        ("HTTP/1.1 206 Partial Content\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", false),
        ("HTTP/1.1 206 Partial Content\r\nTransfer-Encoding: gzip\r\n\r\nabcd", false),
        ("HTTP/1.1 206", false),
        ("", false),
        ("", true),
    ] {
        let (url, _) = service(move |_, mut stream| async move {
            head_of(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
            if stays {
                tokio::time::sleep(Duration::from_secs(60)).await;
            }
        })
        .await;
        let error = said(&patient_for(Duration::from_millis(300)), &get(&url)).await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Io, "{answer:?}: {error}");
    }
}

#[tokio::test]
async fn where_nobody_listens_nothing_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/a/b", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    assert_eq!(said(&lanes(), &get(&url)).await.unwrap_err().kind(), &ErrorKind::Connection);
}

#[tokio::test]
async fn what_carries_no_pages_goes_another_way() {
    let (url, _) = service(|_, mut stream| async move {
        let head = head_of(&mut stream).await;
        // The general client says what it accepts, a lane does not.
        let lane = if head.to_lowercase().contains("\r\naccept: */*\r\n") { "general" } else { "lane" };
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{lane}", lane.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let lanes = lanes();
    let plain = Request::new(url.clone(), Method::Get);
    assert_eq!(said(&lanes, &plain).await.unwrap().1.concat(), b"general");
    assert_eq!(said(&lanes, &get(&url)).await.unwrap().1.concat(), b"lane");
}
