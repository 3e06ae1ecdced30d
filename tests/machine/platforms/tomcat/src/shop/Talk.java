package shop;

import jakarta.websocket.OnMessage;
import jakarta.websocket.server.ServerEndpoint;

@ServerEndpoint("/ws")
public class Talk {
    @OnMessage
    public String echo(String text) {
        return text;
    }
}
