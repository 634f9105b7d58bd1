//! The coded bytes of a block in planes: each plane raw or a zstd frame, then the rest.

use std::io;

use super::frame::{Effort, FrameDecoder, FrameEncoder};
use super::sample::PlaneChoice;
use super::transpose::{self, Width};
use crate::format::Malformed;

const RAW: u8 = 0;
const FRAME: u8 = 1;
/// Kind and coded length.
const PLANE_HEADER_LEN: usize = 5;

/// Codes blocks in planes; its buffers are used again and again.
#[derive(Default)]
pub(super) struct PlanesEncoder {
    planes: Vec<u8>,
    frame: Vec<u8>,
}

impl PlanesEncoder {
    /// Appends the coded bytes of `plain`.
    pub(super) fn append(
        &mut self,
        width: Width,
        choices: &[PlaneChoice; 8],
        plain: &[u8],
        frames: &mut FrameEncoder,
        coded: &mut Vec<u8>,
    ) -> io::Result<()> {
        let plane_len = plain.len() / width.bytes();
        let (elements, rest) = plain.split_at(plane_len * width.bytes());
        self.planes.resize(elements.len(), 0);
        transpose::split(width, elements, &mut self.planes);
        for (plane, choice) in self.planes.chunks(plane_len.max(1)).zip(choices) {
            let effort = match choice {
                PlaneChoice::Raw => None,
                PlaneChoice::Fast => Some(Effort::Fast),
                PlaneChoice::Literals => Some(Effort::Literals),
            };
            if let Some(effort) = effort {
                frames.encode(effort, plane, &mut self.frame)?;
            }
            if effort.is_some() && self.frame.len() < plane.len() {
                append_plane(FRAME, &self.frame, coded);
            } else {
                append_plane(RAW, plane, coded);
            }
        }
        coded.extend_from_slice(rest);
        Ok(())
    }
}

fn append_plane(kind: u8, bytes: &[u8], coded: &mut Vec<u8>) {
    coded.push(kind);
    coded.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    coded.extend_from_slice(bytes);
}

/// Decodes blocks in planes; its buffers are used again and again.
#[derive(Default)]
pub(super) struct PlanesDecoder([Vec<u8>; 8]);

impl PlanesDecoder {
    /// Fills `plain`, all of it. Offsets of errors count from the start of `coded`.
    pub(super) fn decode(
        &mut self,
        width: Width,
        coded: &[u8],
        frames: &mut FrameDecoder,
        plain: &mut [u8],
    ) -> Result<(), Malformed> {
        let plane_len = plain.len() / width.bytes();
        let mut planes: [&[u8]; 8] = [&[]; 8];
        let mut at = 0;
        for (plane, decoded) in planes.iter_mut().zip(&mut self.0).take(width.bytes()) {
            let (kind, bytes) = parse_plane(coded, at)?;
            let start = at + PLANE_HEADER_LEN;
            *plane = match kind {
                RAW if bytes.len() == plane_len => bytes,
                RAW => {
                    let what = format!("plane of {} bytes instead of {plane_len}", bytes.len());
                    return Err(Malformed::at(start, what));
                }
                FRAME => {
                    let result = frames.decode(bytes, plane_len, decoded);
                    result.map_err(|what| Malformed::at(start, what))?;
                    decoded
                }
                kind => return Err(Malformed::unknown(format!("plane kind {kind}"))),
            };
            at = start + bytes.len();
        }
        let (elements, rest) = plain.split_at_mut(plane_len * width.bytes());
        let found = coded.get(at..).unwrap_or_default();
        if found.len() != rest.len() {
            let what = format!("{} bytes after the planes, not {}", found.len(), rest.len());
            return Err(Malformed::at(at, what));
        }
        rest.copy_from_slice(found);
        transpose::merge(width, planes.get(..width.bytes()).unwrap_or_default(), elements);
        Ok(())
    }
}

/// Kind and coded bytes of the plane that starts at `at`.
fn parse_plane(coded: &[u8], at: usize) -> Result<(u8, &[u8]), Malformed> {
    let cut = || Malformed::at(coded.len(), "planes are cut short");
    let (header, rest) = coded
        .get(at..)
        .and_then(|plane| plane.split_first_chunk::<PLANE_HEADER_LEN>())
        .ok_or_else(cut)?;
    let [kind, l0, l1, l2, l3] = *header;
    let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    Ok((kind, rest.get(..len).ok_or_else(cut)?))
}
