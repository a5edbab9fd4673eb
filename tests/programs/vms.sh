# programs: node java

prog_node() {
    need node
    cat >t.js <<'S'
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const crypto = require('crypto'), zlib = require('zlib'), fs = require('fs');
let seed = 1;
const r = n => (seed = (seed * 1103515245 + 12345) % 2147483648) % n;
function churn(k) {
    seed = k + 1;
    const kept = [], h = crypto.createHash('sha256');
    for (let i = 0; i < 6000; i++) {
        const b = Buffer.alloc(1 + r(1 << (1 + r(19))), k + i);
        kept[r(64)] = b;
        h.update(b.subarray(0, 100));
    }
    const z = zlib.gunzipSync(zlib.gzipSync(Buffer.concat(kept.filter(Boolean))));
    return h.update(z).digest('hex');
}
if (isMainThread) {
    const lib = process.env.LIBRARY;
    console.log(fs.readFileSync('/proc/self/maps', 'utf8').includes(lib));
    Promise.all([0, 1, 2, 3].map(k => new Promise((ok, no) => {
        const w = new Worker(__filename, { workerData: k });
        w.on('message', ok); w.on('error', no);
    }))).then(async all => {
        console.log(all.join('\n'));
        for (let i = 0; i < 20; i++) await new Promise(ok => new Worker('1', { eval: true }).on('exit', ok));
        const files = await Promise.all([...Array(50).keys()].map(async i => {
            await fs.promises.writeFile(`f${i}`, Buffer.alloc(i * 20000, i));
            return (await fs.promises.readFile(`f${i}`)).length;
        }));
        console.log(files.join(' '), churn(9));
        console.log(require('child_process').execFileSync(process.execPath, ['-p', '6*7']).toString());
    });
} else parentPort.postMessage(churn(workerData));
S
    LIBRARY=$(basename "${PRELOAD:-/node}") under node t.js
}

prog_java() {
    need java javac
    cat >T.java <<'S'
import java.nio.*; import java.nio.file.*; import java.util.*; import java.util.concurrent.*; import java.util.stream.*; import java.util.zip.*;
public class T {
    static long work(int k) throws Exception {
        Random r = new Random(k); CRC32 sum = new CRC32(); ByteBuffer[] kept = new ByteBuffer[32];
        for (int i = 0; i < 2000; i++) {
            ByteBuffer b = ByteBuffer.allocateDirect(1 + r.nextInt(1 << (1 + r.nextInt(18))));
            while (b.hasRemaining()) b.put((byte) (i + k));
            b.flip(); kept[r.nextInt(32)] = b; sum.update(b);
            Deflater d = new Deflater(); d.setInput(new byte[5000]); d.finish();
            sum.update(d.deflate(new byte[6000])); d.end();
        }
        return sum.getValue();
    }
    public static void main(String[] a) throws Exception {
        System.out.println(Files.readString(Path.of("/proc/self/maps")).contains(a[0]));
        ExecutorService pool = Executors.newFixedThreadPool(8);
        List<Future<Long>> all = new ArrayList<>();
        for (int k = 0; k < 8; k++) { int n = k; all.add(pool.submit(() -> work(n))); }
        for (Future<Long> f : all) System.out.println(f.get());
        pool.shutdown();
        for (int i = 0; i < 500; i++) { Thread t = new Thread(() -> ByteBuffer.allocateDirect(4096)); t.start(); t.join(); }
        System.out.println(IntStream.range(0, 200000).parallel().mapToObj(Integer::toString).collect(Collectors.groupingBy(String::length, Collectors.counting())));
        Process p = new ProcessBuilder("/bin/echo", "child").inheritIO().start(); System.out.println(p.waitFor());
    }
}
S
    under javac -J-Xmx256m T.java
    under java -Xmx256m T "$(basename "${PRELOAD:-/libjvm}")"
}
