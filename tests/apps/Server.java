// Server PORT - bodies of any size in, the last 500 kept in direct buffers; bytes of the size asked for out of one.
// A buffer that is done with is freed at once, as network frameworks do.
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.lang.reflect.Field;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.ReadableByteChannel;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReferenceArray;
import sun.misc.Unsafe;

public class Server {
    static final AtomicReferenceArray<ByteBuffer> kept = new AtomicReferenceArray<>(500);
    static final AtomicInteger next = new AtomicInteger();
    static final Unsafe unsafe = unsafe();

    static Unsafe unsafe() {
        try {
            Field field = Unsafe.class.getDeclaredField("theUnsafe");
            field.setAccessible(true);
            return (Unsafe) field.get(null);
        } catch (ReflectiveOperationException e) {
            throw new AssertionError(e);
        }
    }

    static void keep(HttpExchange exchange) throws IOException {
        ByteBuffer body = ByteBuffer.allocateDirect(Integer.parseInt(exchange.getRequestHeaders().getFirst("Content-Length")));
        ReadableByteChannel in = Channels.newChannel(exchange.getRequestBody());
        while (body.hasRemaining() && in.read(body) >= 0)
            ;
        ByteBuffer old = kept.getAndSet(next.getAndIncrement() % kept.length(), body);
        if (old != null)
            unsafe.invokeCleaner(old);
        exchange.sendResponseHeaders(204, -1);
    }

    static void read(HttpExchange exchange, int size) throws IOException {
        ByteBuffer answer = ByteBuffer.allocateDirect(size);
        exchange.sendResponseHeaders(200, size);
        Channels.newChannel(exchange.getResponseBody()).write(answer);
        unsafe.invokeCleaner(answer);
    }

    static void handle(HttpExchange exchange) throws IOException {
        if (exchange.getRequestMethod().equals("POST"))
            keep(exchange);
        else
            read(exchange, Integer.parseInt(exchange.getRequestURI().getPath().substring(1)));
        exchange.close();
    }

    public static void main(String[] arguments) throws IOException {
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(arguments[0])), 64);
        server.setExecutor(Executors.newFixedThreadPool(8));
        server.createContext("/", Server::handle);
        server.start();
    }
}
