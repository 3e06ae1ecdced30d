import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.Executors;
import java.util.zip.CRC32;

public class Shop {
    public static void main(String[] arguments) throws Exception {
        String release = Files.readString(Path.of("RELEASE")).trim();
        if (release.equals("broken")) {
            throw new IllegalStateException("the catalog cannot be read");
        }
        int port = Integer.parseInt(System.getenv().getOrDefault("PORT", "5000"));
        HttpServer server = HttpServer.create(new InetSocketAddress(port), 512);
        server.setExecutor(Executors.newCachedThreadPool());
        server.createContext("/", exchange -> {
            byte[] body = exchange.getRequestBody().readAllBytes();
            CRC32 crc = new CRC32();
            crc.update(body);
            String wait = exchange.getRequestHeaders().getFirst("X-Wait");
            String id = exchange.getRequestHeaders().getFirst("X-Id");
            try {
                Thread.sleep(wait == null ? 0 : (long) (1000 * Double.parseDouble(wait)));
            } catch (InterruptedException interrupted) {
                Thread.currentThread().interrupt();
            }
            String text = String.format("id=%s len=%d crc=%d gen=%s%n", id == null ? "-" : id, body.length, crc.getValue(), release);
            exchange.sendResponseHeaders(200, text.length());
            exchange.getResponseBody().write(text.getBytes());
            exchange.close();
        });
        server.start();
        System.out.println("shop listens on " + port);
    }
}
