// server.js PORT - JSON of any size in, the last 500 documents kept; Buffers of the size asked for out.
'use strict';
const kept = new Array(500).fill(null);
let next = 0;

require('http').createServer((request, response) => {
    const size = Number(request.url.slice(1)) || 0;
    const pieces = [];
    request.on('data', (piece) => pieces.push(piece));
    request.on('end', () => {
        if (request.method === 'POST') {
            const body = Buffer.concat(pieces);
            const records = JSON.parse(body);
            kept[next++ % kept.length] = body;
            response.end(JSON.stringify({ records: records.length, texts: records.map((r) => r.text) }));
        } else {
            response.end(Buffer.allocUnsafeSlow(size).fill(size & 255));
        }
    });
}).listen(Number(process.argv[2]), '127.0.0.1');
