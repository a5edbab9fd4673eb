// churn.js LIVE_MIB - node with a queue of Buffers whose size changes from phase to phase.
//
// Run with --expose-gc. A Buffer's bytes come from malloc and go back when the collector has seen
// that nobody holds it, so bytes dropped since the last collection count as live. V8's own heap is
// not malloc's; its growth is reported as the program's own.
'use strict';
const MIB = 1 << 20, KIB = 1 << 10;
const peak = Number(process.argv[2]) * MIB, garbageLimit = 12 * MIB;
const sizes = [64 * KIB, 6 * KIB, 700 * KIB, 24 * KIB, 300 * KIB];

const started = process.hrtime.bigint(), heapAtStart = process.memoryUsage().heapTotal;
let held = 0, garbage = 0, peakHeld = 0, heapPeak = heapAtStart, operations = 0;

function take(size) {
    const buffer = Buffer.allocUnsafeSlow(size).fill(size & 255);
    held += size;
    peakHeld = Math.max(peakHeld, held + garbage);
    operations++;
    return buffer;
}

function collect() {
    heapPeak = Math.max(heapPeak, process.memoryUsage().heapTotal);
    global.gc();
    garbage = 0;
}

function give(buffer) {
    if (buffer[0] !== (buffer.length & 255) || buffer[buffer.length - 1] !== buffer[0])
        throw new Error('a Buffer came back changed');
    held -= buffer.length;
    garbage += buffer.length;
    if (garbage > garbageLimit) collect();
}

let old = [];
for (const size of peak ? sizes : []) {
    const fresh = [];
    let next = 0;
    for (let n = Math.floor(peak / size); n; n--) {
        while (held + garbage + size > peak + garbageLimit && next < old.length) {
            give(old[next]);
            old[next++] = null;
        }
        fresh.push(take(size));
    }
    for (; next < old.length; next++) {
        give(old[next]);
        old[next] = null;
    }
    collect();
    old = fresh;
}
const seconds = Number(process.hrtime.bigint() - started) / 1e9;
console.log(`load peak_bytes=${peakHeld} own_bytes=${heapPeak - heapAtStart} ` +
    `operations=${operations} seconds=${seconds.toFixed(4)}`);
