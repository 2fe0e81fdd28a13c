//! Frames to attack with: one of each kind that the stack knows, whole and then spoilt.

/// A reproducible sequence of numbers (xorshift64, Marsaglia 2003).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 16) as usize % limit.max(1)
    }
}

/// Who attacks whom.
#[derive(Clone, Copy)]
pub struct Ends {
    pub mac: [u8; 6],
    pub v4: [u8; 4],
    pub v6: [u8; 16],
    pub peer_mac: [u8; 6],
    pub peer_v4: [u8; 4],
    pub peer_v6: [u8; 16],
}

fn sum(bytes: &[u8], start: u32) -> u32 {
    bytes.chunks(2).fold(start, |sum, pair| sum + (u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))))
}

fn fold(mut sum: u32) -> u16 {
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn ethernet(ends: &Ends, kind: u16, payload: &[u8]) -> Vec<u8> {
    [&ends.mac[..], &ends.peer_mac, &kind.to_be_bytes(), payload].concat()
}

fn ipv4(ends: &Ends, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = (20 + payload.len()) as u16;
    let mut packet = vec![0x45, 0, (length >> 8) as u8, length as u8, 0, 1, 0x40, 0, 64, protocol, 0, 0];
    packet.extend(ends.peer_v4);
    packet.extend(ends.v4);
    packet.extend(payload);
    ethernet(ends, 0x0800, &packet)
}

fn ipv6(ends: &Ends, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u16;
    let mut packet = vec![0x60, 0, 0, 0, (length >> 8) as u8, length as u8, protocol, 255];
    packet.extend(ends.peer_v6);
    packet.extend(ends.v6);
    packet.extend(payload);
    ethernet(ends, 0x86dd, &packet)
}

fn tcp(from: u16, to: u16, sequence: u32, acknowledgement: u32, flags: u8, window: u16, data: &[u8]) -> Vec<u8> {
    let mut segment = [from.to_be_bytes(), to.to_be_bytes()].concat();
    segment.extend(sequence.to_be_bytes());
    segment.extend(acknowledgement.to_be_bytes());
    // Options: MSS 1460, window scale, SACK permitted, and an end.
    segment.extend([0x80, flags]);
    segment.extend(window.to_be_bytes());
    segment.extend([0, 0, 0, 0, 2, 4, 5, 0xb4, 3, 3, 7, 1, 4, 2, 1, 0]);
    segment.truncate(32);
    segment.extend(data);
    segment
}

fn udp(from: u16, to: u16, data: &[u8]) -> Vec<u8> {
    let length = (8 + data.len()) as u16;
    [&from.to_be_bytes()[..], &to.to_be_bytes(), &length.to_be_bytes(), &[0, 0], data].concat()
}

fn dhcp(ends: &Ends, kind: u8, transaction: u32) -> Vec<u8> {
    let mut message = vec![2, 1, 6, 0];
    message.extend(transaction.to_be_bytes());
    message.extend([0; 8]);
    message.extend(ends.v4);
    message.extend(ends.peer_v4);
    message.extend([0; 4]);
    message.extend(ends.mac);
    message.extend([0; 10 + 192]);
    message.extend([0x63, 0x82, 0x53, 0x63, 53, 1, kind, 54, 4]);
    message.extend(ends.peer_v4);
    message.extend([51, 4, 0, 0, 0, 60, 1, 4, 255, 255, 255, 0, 3, 4]);
    message.extend(ends.peer_v4);
    message.extend([6, 4]);
    message.extend(ends.peer_v4);
    message.push(255);
    message
}

fn dns(transaction: u16) -> Vec<u8> {
    let mut message = transaction.to_be_bytes().to_vec();
    message.extend([0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    message.extend(b"\x04host\x07example\0\0\x01\0\x01");
    message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 2, 9]);
    message
}

/// A frame of one of the kinds, with ports and numbers from `random`; ports are mostly those that are `open`.
fn whole(ends: &Ends, random: &mut Random, open: &[u16]) -> Vec<u8> {
    let port = if random.below(8) == 0 { random.next() as u16 } else { open[random.below(open.len())] };
    let from = [40_001, 40_002, 53, 67, random.next() as u16][random.below(5)];
    let (sequence, acknowledgement) = (random.next() as u32, random.next() as u32);
    let flags = [0x02, 0x10, 0x18, 0x04, 0x11, 0x12, random.next() as u8][random.below(7)];
    let window = [0, 1, 512, 0xffff][random.below(4)];
    let data: Vec<u8> = (0..random.below(200)).map(|_| random.next() as u8).collect();
    let segment = tcp(from, port, sequence, acknowledgement, flags, window, &data);
    match random.below(16) {
        0 => {
            let operation = [1, 2, random.next() as u8][random.below(3)];
            let mut packet = vec![0, 1, 8, 0, 6, 4, 0, operation];
            packet.extend(ends.peer_mac);
            packet.extend(ends.peer_v4);
            packet.extend(ends.mac);
            packet.extend(ends.v4);
            ethernet(ends, 0x0806, &packet)
        }
        1 => ipv4(ends, 1, &[&[[8, 0, 3, 11][random.below(4)], 0, 0, 0, 0, 1, 0, 1][..], &data].concat()),
        2..6 => ipv4(ends, 6, &segment),
        6 => ipv4(ends, 17, &udp(from, port, &data)),
        7 => ipv4(ends, 17, &udp(67, 68, &dhcp(ends, [2, 5, 6][random.below(3)], random.next() as u32))),
        8 => ipv4(ends, 17, &udp(53, port, &dns(random.next() as u16))),
        9..11 => ipv6(ends, 6, &segment),
        11 => ipv6(ends, 17, &udp(from, port, &data)),
        12 => ipv6(ends, 58, &[&[[128, 129, 1, 2, 3, 4][random.below(6)], 0, 0, 0, 0, 1, 0, 1][..], &data].concat()),
        13 => {
            // Neighbour solicitation and advertisement, with an option.
            let kind = 135 + random.below(2) as u8;
            let target = if kind == 135 { ends.v6 } else { ends.peer_v6 };
            let head = [kind, 0, 0, 0, 0x60, 0, 0, 0];
            ipv6(ends, 58, &[&head[..], &target, &[kind - 134, 1], &ends.peer_mac].concat())
        }
        14 => {
            // Router advertisement with a prefix.
            let mut message = vec![134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
            message.extend([3, 4, 64, 0xc0, 0, 0, 14, 16, 0, 0, 14, 16, 0, 0, 0, 0]);
            message.extend([[0x20, 0x01, 0x0d, 0xb8], [0xff, 2, 0, 0], [0, 0, 0, 0]][random.below(3)]);
            message.extend([0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            ipv6(ends, 58, &message)
        }
        _ => ethernet(ends, random.next() as u16, &data),
    }
}

/// Makes the checksums right, as far as the frame is still one that has some.
pub fn repair(frame: &mut [u8]) {
    let (start, length, protocol, mut pseudo) = match frame {
        [_, _, _, _, _, _, _, _, _, _, _, _, 8, 0, first, ..] => {
            let header = 4 * usize::from(*first & 15);
            if header < 20 || frame.len() < 14 + header {
                return;
            }
            frame[24..26].fill(0);
            let check = fold(sum(&frame[14..14 + header], 0));
            frame[24..26].copy_from_slice(&check.to_be_bytes());
            let total = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
            let Some(length) = total.checked_sub(header) else { return };
            (14 + header, length, frame[23], sum(&frame[26..34], 0))
        }
        [_, _, _, _, _, _, _, _, _, _, _, _, 0x86, 0xdd, ..] if frame.len() >= 54 => {
            let length = usize::from(u16::from_be_bytes([frame[18], frame[19]]));
            (54, length, frame[20], sum(&frame[22..54], 0))
        }
        _ => return,
    };
    let place = match protocol {
        1 | 58 => 2,
        6 => 16,
        17 => 6,
        _ => return,
    };
    let Some(payload) = frame.get_mut(start..start + length).filter(|payload| payload.len() >= place + 2) else {
        return;
    };
    pseudo = if protocol == 1 { 0 } else { pseudo + u32::from(protocol) + length as u32 };
    payload[place..place + 2].fill(0);
    let check = fold(sum(payload, pseudo));
    payload[place..place + 2].copy_from_slice(&check.to_be_bytes());
}

/// A frame: sometimes whole, mostly spoilt in one or several ways, with or without right checksums.
pub fn attack(ends: &Ends, random: &mut Random, open: &[u16]) -> Vec<u8> {
    let mut frame = whole(ends, random, open);
    for _ in 0..random.below(4) {
        let at = random.below(frame.len());
        match random.below(7) {
            0 => frame[at] ^= 1 << random.below(8),
            1 => frame[at] = [0, 0xff, 0x7f, 0x80, random.next() as u8][random.below(5)],
            // Headers more often than what they carry.
            2 | 3 => {
                let at = 12 + random.below(60);
                if let Some(byte) = frame.get_mut(at) {
                    *byte = random.next() as u8;
                }
            }
            4 => frame.truncate(at),
            5 => {
                let more = random.below(64);
                frame.resize((frame.len() + more).min(1514), 0);
            }
            _ => {
                let byte = frame[at];
                frame.insert(at, byte);
                frame.truncate(1514);
            }
        }
        if frame.is_empty() {
            frame.push(0);
        }
    }
    if random.below(8) != 0 {
        repair(&mut frame);
    }
    frame
}
