//! A shop that needs nothing but its own binary.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

fn crc32(body: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 })
    };
    !body.iter().fold(!0, step)
}

fn serve(client: TcpStream, release: &str) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let (mut id, mut length, mut wait) = ("-".to_owned(), 0, 0.0);
    for line in reader.by_ref().lines() {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else {
            if line.is_empty() { break } else { continue }
        };
        match (name.to_ascii_lowercase().as_str(), value.trim()) {
            ("x-id", value) => id = value.to_owned(),
            ("x-wait", value) => wait = value.parse().unwrap_or(0.0),
            ("content-length", value) => length = value.parse().unwrap_or(0),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    std::thread::sleep(Duration::from_secs_f64(wait));
    let text = format!("id={id} len={length} crc={} gen={release}\n", crc32(&body));
    write!(&client, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}", text.len())
}

fn main() {
    let release = std::fs::read_to_string("RELEASE").expect("RELEASE is in the bundle").trim().to_owned();
    assert!(release != "broken", "the catalog cannot be read");
    let port = std::env::var("PORT").unwrap_or("5000".into());
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).expect("the port is free");
    println!("shop listens on {port}");
    for client in listener.incoming().flatten() {
        let release = release.clone();
        std::thread::spawn(move || serve(client, &release));
    }
}
